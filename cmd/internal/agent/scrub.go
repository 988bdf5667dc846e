package agent

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/status"
)

// The names of passes on record.
const (
	agentPass = "agent"
	handPass  = "hand"
)

// scrubRetry is when something is tried again that a target did not allow.
const scrubRetry = time.Hour

// scrubbing looks after what was published, as the configuration has it.
type scrubbing struct {
	*beside
	log  *slog.Logger
	tell func() // that there may be something new on record
}

func newScrubbing(log *slog.Logger, tell func()) *scrubbing {
	s := &scrubbing{log: log, tell: tell}
	s.beside = newWorkers(func(ctx context.Context, _ *beside, cfg *config.Agent, workers *sync.WaitGroup) {
		if !cfg.Scrub.Off {
			workers.Go(func() { s.run(ctx, cfg) })
		}
	})
	return s
}

func (s *scrubbing) run(ctx context.Context, cfg *config.Agent) {
	scrub := newScrub(cfg, agentPass, s.log)
	for ctx.Err() == nil {
		next := clock().Add(scrubRetry)
		var err error
		// Anew each time: the key may be another one since.
		if scrub.Publisher, err = NewPublisher(cfg, s.log); err == nil {
			var due time.Time
			if due, err = scrub.Round(ctx); err == nil {
				next = due
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.log.Warn("what is published cannot be looked at everywhere", append(because(err), "at", next)...)
		}
		s.tell()
		debug.FreeOSMemory() // an index is large, and the node wants that memory for its cache
		select {
		case <-ctx.Done():
		case <-time.After(next.Sub(clock())):
		}
	}
}

// newScrub is a scrub that has no publisher yet.
func newScrub(cfg *config.Agent, pass string, log *slog.Logger) *publish.Scrub {
	return &publish.Scrub{
		Channels: cfg.ChannelNames(), Name: pass, Every: time.Duration(cfg.Scrub.Every), Rate: int64(cfg.Scrub.Rate), Log: log,
	}
}

// NewScrub is a pass by hand: of one channel or, without a name, of all.
func NewScrub(cfg *config.Agent, channel string, bytesPerSecond int64, log *slog.Logger) (*publish.Scrub, error) {
	p, err := NewPublisher(cfg, log)
	if err != nil {
		return nil, err
	}
	s := newScrub(cfg, handPass, log)
	s.Publisher, s.Every, s.Rate, s.Only = p, 0, bytesPerSecond, channel
	return s, nil
}

// Scrub is what scrubs have found.
type Scrub struct {
	Off    bool            `json:"off,omitempty"`
	Pass   status.Pass     `json:"pass"` // the agent's, the zero value before the first
	Broken int             `json:"broken"`
	Damage []status.Damage `json:"damage,omitempty"` // some of it, what is broken first
}

// shownDamage is how much of it an overview shows of each target.
const shownDamage = 10

// lookAtScrub says what is known to be broken.
func (o *Overview) lookAtScrub(a *config.Agent) {
	record := status.ScrubsIn(a.State)
	pass, err := record.Pass(agentPass)
	var all []status.Damage
	if err == nil {
		all, err = record.Damage()
	}
	if err != nil {
		o.Problems = append(o.Problems, err.Error())
		return
	}
	o.damaged, o.scrubbed = all, true
	if pass.Start.IsZero() && len(all) == 0 {
		return
	}
	pass.Cursors = nil // nobody's business
	o.Scrub = &Scrub{Off: a.Scrub.Off, Pass: pass}
	broken, mended := map[string]int{}, map[string]int{}
	for _, isBroken := range []bool{true, false} {
		for _, d := range all {
			count := mended
			if isBroken {
				count = broken
			}
			if d.Mended.IsZero() != isBroken {
				continue
			}
			if count[d.Target]++; count[d.Target] <= shownDamage {
				o.Scrub.Damage = append(o.Scrub.Damage, d)
			}
		}
	}
	for target, n := range broken {
		o.Scrub.Broken += n
		o.Problems = append(o.Problems, fmt.Sprintf("%s on %s, and not mended", brokenObjects(n), target))
	}
	if pass.Error != "" {
		o.Problems = append(o.Problems, "what is published cannot be looked at everywhere: "+pass.Error)
	}
}
