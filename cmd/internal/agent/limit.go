package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/quota"
)

// uses are how those who fetch are asked to use places, while quotas have reached their
// limit. They follow from what is on record of the month, and from nothing else: whoever
// asks, and whenever, comes to the same. Without any all is as usual.
type uses struct {
	Locations map[string]manifest.Use `json:"locations,omitempty"` // by URL
	// Others is that of all other locations but those whose readers pay.
	Others manifest.Use `json:"others,omitempty"`
	IPFS   manifest.Use `json:"ipfs,omitempty"`
}

// usesNow are those at a time.
func usesNow(a *config.Agent, now time.Time) (u uses, err error) {
	for i := range a.Quota {
		q := &a.Quota[i]
		reached, err := limitReached(a, q, now)
		if err != nil {
			return u, err
		}
		if reached {
			u.restrict(q.Then, a.Limited(q).URL)
		}
	}
	return u, nil
}

// limitReached reports whether a quota has reached its limit in the month of a time.
func limitReached(a *config.Agent, q *config.Quota, now time.Time) (bool, error) {
	if q.Limit == 0 {
		return false, nil
	}
	month, err := (&quota.Meter{Name: q.Name()}).On(alarm.In(a.State), now)
	return month.Reached(int64(q.Limit)), err
}

// restrict adds what is to be done about a distribution at a URL. Of two the stricter one
// holds.
func (u *uses) restrict(then, url string) {
	if u.Locations == nil {
		u.Locations = map[string]manifest.Use{}
	}
	if then == config.ThenPreferIPFS {
		if u.Locations[url] == "" {
			u.Locations[url] = manifest.UseLast
		}
		return
	}
	u.Locations[url] = manifest.UseNever
	if then == config.ThenRequesterPaysOnly {
		u.Others, u.IPFS = manifest.UseNever, manifest.UseNever
	}
}

// set sets the uses of a manifest.
func (u *uses) set(m *manifest.Manifest) error {
	for i := range m.Locations {
		l := &m.Locations[i]
		if l.Use = u.Locations[l.URL]; !manifest.BillsReaders(l.URL) {
			l.Use = stricter(l.Use, u.Others)
		}
	}
	if m.IPFS != nil {
		m.IPFS.Use = u.IPFS
	}
	return nil
}

func stricter(a, b manifest.Use) manifest.Use {
	if a == manifest.UseNever || b == "" {
		return a
	}
	return b
}

// usual reports whether nothing is restricted.
func (u *uses) usual() bool { return len(u.Locations) == 0 }

func (u *uses) equal(other uses) bool {
	return maps.Equal(u.Locations, other.Locations) && u.Others == other.Others && u.IPFS == other.IPFS
}

// said is what the manifests of a channel say, or are about to. There is no record of a
// channel where all is as usual, and was signed so.
type said struct {
	uses
	Done bool `json:"done"` // all of them do
}

func saidName(channel string) string { return "uses/" + channel }

// say puts on record what is about to be said.
func (u *uses) say(o *alarm.Outbox, channel string) error {
	return o.Update(func(tx *alarm.Tx) error { return tx.SetMark(saidName(channel), said{*u, false}) })
}

// done puts on record that it is said.
func (u *uses) done(o *alarm.Outbox, channel string) error {
	return o.Update(func(tx *alarm.Tx) error {
		if u.usual() {
			return tx.Unmark(saidName(channel))
		}
		return tx.SetMark(saidName(channel), said{*u, true})
	})
}

// usesOf is how a publisher learns what a manifest that it writes is to say.
func usesOf(a *config.Agent) func(*manifest.Manifest) error {
	if len(a.Quota) == 0 {
		return nil
	}
	return func(m *manifest.Manifest) error {
		u, err := usesNow(a, clock())
		if err != nil {
			return fmt.Errorf("find out whether a quota has reached its limit: %w", err)
		}
		if !u.usual() {
			// With no limit any more it is known then that there is something to take back.
			o := alarm.In(a.State)
			if found, err := o.Mark(saidName(m.Channel), &said{}); err != nil {
				return err
			} else if !found {
				if err := u.say(o, m.Channel); err != nil {
					return err
				}
			}
		}
		return u.set(m)
	}
}

// limitRetry is the longest time between attempts to sign what a limit asks for.
const limitRetry = time.Minute

// lookAtLimits has all channels looked at next.
func (l *loop) lookAtLimits(now time.Time) {
	for _, c := range l.channels {
		c.limit = attempts{at: now}
	}
}

// limiting has the manifests of a channel say what they are to say: at the start, and
// when whoever watches a quota says that it is over its limit, or no more.
func (l *loop) limiting(c *channel) job {
	cfg, name := c.agent, c.name
	return func(ctx context.Context, p *progress) func(time.Time) {
		p.say("looking at the limits of quotas")
		within, cancel := context.WithTimeout(ctx, renewalTimeout)
		defer cancel()
		err := l.keepLimits(within, cfg, name, clock(), p)
		return func(now time.Time) {
			switch {
			case err == nil:
				c.limit = attempts{at: now.Add(renewalInterval(cfg))}
				return
			case ctx.Err() != nil:
			case errors.Is(err, publish.ErrInUse):
				l.Log.Info("what the limit of a quota asks for is signed later", "channel", name, "because", err.Error())
			default:
				l.Log.Error("what the limit of a quota asks for is not signed", append([]any{"channel", name}, because(err)...)...)
			}
			c.limit.failed(now, limitRetry)
		}
	}
}

// keepLimits compares what is to be said with what was signed last. It may be killed at
// any moment: the next attempt does the rest.
func (l *loop) keepLimits(ctx context.Context, a *config.Agent, channel string, now time.Time, p *progress) error {
	outbox := alarm.In(a.State)
	u, err := usesNow(a, now)
	if err != nil {
		return err
	}
	last := said{}
	found, err := outbox.Mark(saidName(channel), &last)
	if err != nil || !found && u.usual() || found && last.Done && u.equal(last.uses) {
		return err
	}
	p.say("signing what the limit of a quota asks for")
	held, err := lock(ctx, runLockFile(a.State, channel), "channel "+channel, Holder{Program: theAgent, Doing: "signing what a limit asks for"}, l.Log)
	if err != nil {
		return err
	}
	defer unlock(held)
	publisher, err := NewPublisher(a, l.Log.With("channel", channel))
	if err != nil {
		return err
	}
	if err := u.say(outbox, channel); err != nil {
		return err
	}
	publisher.Uses = u.set
	changed, err := publisher.RenewUses(ctx, channel)
	if text, jsonErr := json.Marshal(u); jsonErr == nil && changed > 0 {
		l.Log.Info("how places are to be used is signed anew", "channel", channel, "versions", changed, "uses", string(text))
	}
	if err != nil {
		return err
	}
	return u.done(outbox, channel) // where nothing is published the first version says it
}
