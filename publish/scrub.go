package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/qsync/qsync/publish/status"
)

// Scrub looks whether all that the heads name is still there, on each target, and
// still what its name says. It reads what was published long ago, which nobody may
// have asked for since.
//
//	look    what is there, by listing, has the right size; once a day
//	read    everything, in the order of its keys, as slowly as there is time for; once a pass
//	settle  what seems to be broken is looked at again together with the heads of that
//	        moment, for it may have been pruned. What is broken goes on record, and is then
//	        replaced by a copy that is whole, if some target has one; as fast as is allowed
//
// A pass goes on where it was when its process died: see [status.Scrubs]. It holds no
// lock of a channel. What it cannot ask, because a target is out of reach, it takes
// neither for whole nor for broken. Nothing is ever written but what fits a digest
// that a signed head leads to, and nothing is deleted.
//
// What no target has whole is stored anew by the next run, as far as the database still
// has it: see [Run.Previous].
type Scrub struct {
	// Publisher may be another one in each round.
	Publisher *Publisher
	// Channels are all that the publisher has on its targets.
	Channels []string
	// Only is the one of them that is looked at; empty is all.
	Only string
	// Name is the pass's on record: who scrubs at the same time has another one.
	Name string
	// Every is the time from the begin of one pass to the next. A pass is read as
	// slowly as that allows, but not slower than minPace. 0 is one pass, as fast as Rate.
	Every time.Duration
	// Rate is how many bytes are read in a second at most; 0 is any number.
	Rate int64
	// Progress is told the bytes that were read, of those of the pass. It may be nil.
	Progress func(read, total int64)
	// Log may be nil.
	Log *slog.Logger

	memo namedMemo
}

const (
	// lookInterval is how often is looked what is there.
	lookInterval = 24 * time.Hour
	// recheckInterval is how often is looked whether what was broken has changed.
	recheckInterval = time.Hour
	// resumable is how long a pass may lie before one by hand begins anew.
	resumable = 24 * time.Hour
	// saveInterval is how much time of a pass is lost at most when its process dies.
	saveInterval = 5 * time.Second
	// minPace is slow enough for anybody, in bytes a second.
	minPace = 1_000_000
)

// scrubbing is a Scrub at work.
type scrubbing struct {
	*Scrub
	p      *Publisher
	record *status.Scrubs
	log    *slog.Logger
	pass   status.Pass
	pace   *rate.Limiter
	until  time.Time // when it is time to look again; zero is never

	saved    time.Time
	suspects []string                 // keys on the target at hand
	at       status.Cursor            // on the target at hand; on record are only those before it
	broken   []status.Damage          // not on record yet
	whole    []status.Damage          // likewise
	mends    []mend                   // of what is settled
	known    map[string]status.Damage // by target and key: broken at the begin of the round
	renewed  map[string]string
	failed   map[string]error // by target; the others go on
}

// Round looks at what is due, and reads on until that is the case again, or the pass
// has ended. It returns when the next round is due; an error says that some of it
// could not be done, which the next round tries again. A Scrub makes one round at a
// time. Error: ErrInUse if another process makes the pass of that name.
func (s *Scrub) Round(ctx context.Context) (next time.Time, err error) {
	lock, err := s.Publisher.openLock(s.Name + ".scrub") // no channel has a name with a dot
	if err != nil {
		return next, err
	}
	if locked, err := lock.TryLock(); err != nil || !locked {
		if err == nil {
			err = fmt.Errorf("%w: another process scrubs: wait for it to end", ErrInUse)
		}
		return next, err
	}
	defer lock.Unlock()
	r := &scrubbing{
		Scrub: s, p: s.Publisher.operation(), record: status.ScrubsIn(s.Publisher.StateDir), log: s.Log,
		pace: rate.NewLimiter(rate.Inf, readPiece), renewed: map[string]string{}, known: map[string]status.Damage{}, failed: map[string]error{},
	}
	r.setPace(0)
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.pass, err = r.record.Pass(s.Name); err != nil {
		return next, err
	}
	fresh := r.due()
	if fresh {
		r.pass = status.Pass{Channels: s.looked(), Start: r.p.now().UTC(), Before: r.pass.LastEnd()}
	}
	if r.pass.Cursors == nil {
		r.pass.Cursors = map[string]status.Cursor{}
	}
	err = r.round(ctx, fresh)
	r.pass.Error = ""
	if err != nil && ctx.Err() == nil {
		r.pass.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if ctx.Err() == nil && err == nil && r.pass.End.IsZero() && r.finished() {
		r.pass.End = r.p.now().UTC()
	}
	err = errors.Join(err, r.save(ctx))
	return r.next(), err
}

// looked are the channels that are looked at.
func (s *Scrub) looked() []string {
	if s.Only != "" {
		return []string{s.Only}
	}
	return s.Channels
}

// due reports whether a new pass begins.
func (s *scrubbing) due() bool {
	p, now := &s.pass, s.p.now()
	switch {
	case p.Start.IsZero() || p.Start.After(now) || !slices.Equal(p.Channels, s.looked()):
		return true
	case s.Every == 0:
		return !p.End.IsZero() || now.Sub(p.Start) > resumable
	}
	return !p.End.IsZero() && now.Sub(p.Start) >= s.Every
}

func (s *scrubbing) finished() bool {
	return !slices.ContainsFunc(s.p.Targets, func(t Target) bool { return !s.pass.Cursors[t.String()].Done })
}

// next is when there is something to do again.
func (s *scrubbing) next() time.Time {
	if s.pass.End.IsZero() {
		return s.p.now()
	}
	next := s.pass.Start.Add(s.Every)
	if look := s.lookDue(); look.Before(next) {
		return look
	}
	return next
}

// lookDue is when is looked again: at all that is there, or at what is broken.
func (s *scrubbing) lookDue() time.Time {
	interval := lookInterval
	all, err := s.record.Damage()
	if err != nil || slices.ContainsFunc(all, func(d status.Damage) bool { return d.Mended.IsZero() }) {
		interval = recheckInterval
	}
	return s.p.now().Add(interval)
}

func (s *scrubbing) round(ctx context.Context, fresh bool) error {
	look := fresh || s.Every == 0 || s.p.now().Sub(s.pass.Looked) >= lookInterval
	if look {
		s.eachTarget(ctx, s.lookAtHeads)
	}
	if err := s.recheck(ctx, look); err != nil {
		return err
	}
	if look {
		s.eachTarget(ctx, s.look)
		if len(s.failed) == 0 && ctx.Err() == nil {
			s.pass.Looked = s.p.now().UTC()
		}
	}
	if ctx.Err() == nil && s.pass.End.IsZero() {
		var left int64
		s.eachTarget(ctx, func(ctx context.Context, t Target) error {
			n, err := s.left(ctx, t)
			left += n
			return err
		})
		s.pass.Total = s.pass.Read + left
		s.setPace(left)
		if s.Every > 0 {
			s.until = s.lookDue()
		}
		s.eachTarget(ctx, s.read)
	}
	return errors.Join(append(slices.Collect(maps.Values(s.failed)), ctx.Err())...)
}

// eachTarget does something on all targets. One that fails does not keep it from the
// others, but is not bothered again in this round.
func (s *scrubbing) eachTarget(ctx context.Context, do func(context.Context, Target) error) {
	for _, t := range s.p.Targets {
		if ctx.Err() != nil {
			return
		}
		if s.failed[t.String()] != nil {
			continue
		}
		err := do(ctx, t)
		s.suspects, s.mends = nil, nil
		if err != nil && ctx.Err() == nil {
			s.failed[t.String()] = fmt.Errorf("scrub %s: %w", t, err)
		}
	}
}

// setPace spreads what is left over the time that is left, of which a tenth is for
// what comes in between.
func (s *scrubbing) setPace(left int64) {
	pace := s.fastest()
	if s.Every > 0 {
		if time := s.pass.Start.Add(s.Every - s.Every/10).Sub(s.p.now()); time > 0 {
			pace = min(pace, max(minPace, rate.Limit(float64(left)/time.Seconds())))
		}
	}
	s.pace.SetLimit(pace)
}

// fastest is what Rate allows.
func (s *scrubbing) fastest() rate.Limit {
	if s.Rate > 0 {
		return rate.Limit(s.Rate)
	}
	return rate.Inf
}

// wait waits until so many bytes may be read.
func (s *scrubbing) wait(ctx context.Context, n int64) error {
	for n > 0 {
		part := min(n, readPiece)
		if err := s.pace.WaitN(ctx, int(part)); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// save puts on record how far the pass is. What was broken is whole there only when
// the caches have forgotten it: until then it is looked at again, and they are told again.
func (s *scrubbing) save(ctx context.Context) error {
	untold := s.invalidate(ctx)
	for i := range s.broken {
		if d := &s.broken[i]; untold[d.Key] && !d.Mended.IsZero() {
			d.Mended = time.Time{}
			d.Wrong += "; it is mended, but a cache may have it still"
		}
	}
	s.whole = slices.DeleteFunc(s.whole, func(d status.Damage) bool { return untold[d.Key] })
	err := s.record.Save(s.Name, s.pass, s.p.now(), s.broken, s.whole)
	if err == nil {
		s.broken, s.whole, s.saved = nil, nil, s.p.now()
	}
	return err
}

// recheck looks again at what is on record as broken: at all of it, or at what has
// changed since.
func (s *scrubbing) recheck(ctx context.Context, all bool) error {
	known, err := s.record.Damage()
	if err != nil {
		return err
	}
	for _, d := range known {
		if !slices.ContainsFunc(s.p.Targets, func(t Target) bool { return t.String() == d.Target }) {
			s.whole = append(s.whole, d) // nobody publishes there any more
		} else if d.Mended.IsZero() {
			s.known[d.Target+"\x00"+d.Key] = d
		}
	}
	s.eachTarget(ctx, func(ctx context.Context, t Target) error {
		for _, d := range known {
			if d.Target != t.String() || !d.Mended.IsZero() {
				continue
			}
			changed, err := hasChanged(ctx, t, &d)
			if err != nil {
				return err
			}
			if !Immutable(d.Key) {
				if changed {
					err = s.lookAtHeads(ctx, t)
				}
			} else if changed || all {
				s.suspects = append(s.suspects, d.Key)
			}
			if err != nil {
				return err
			}
		}
		return s.settle(ctx, t)
	})
	return nil
}

// hasChanged reports whether an object is another one than the broken one.
func hasChanged(ctx context.Context, t Target, d *status.Damage) (bool, error) {
	have, err := t.Stat(ctx, d.Key)
	if errors.Is(err, ErrNotFound) {
		return d.Size != 0 || !d.Modified.IsZero(), nil
	}
	if err != nil {
		return false, fmt.Errorf("stat %s on %s: %w", d.Key, t, err)
	}
	return have.Size != d.Size || !have.Modified.Equal(d.Modified), nil
}
