package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
)

// channel is where the loop stands with a channel.
type channel struct {
	name   string
	agent  *config.Agent // the configurations for the next job
	config *config.Channel
	busy   *progress // of the job under way; nil is none
	gone   bool      // no longer configured

	repair attempts // of what an earlier agent left
	clean  bool     // nothing is left to repair

	schedule *Schedule // nil is by hand
	slots    *slots    // nil while what is on record has not been read
	read     attempts  // of that
	said     time.Time // the slot that was last logged as the next

	renew attempts // of the head and the catalog
	limit attempts // of looking at what the limits of quotas ask for

	watch time.Time // when the node is looked at next
	ill   bool      // it was, the last time
}

// attempts is when something is done next, and how often it has failed in a row.
type attempts struct {
	at       time.Time
	failures int
}

func (a *attempts) failed(now time.Time, atMost time.Duration) {
	a.failures++
	a.at = now.Add(min(retryDelay(a.failures), atMost))
}

// job is what is done for a channel, beside the loop. What it returns is done in
// the loop afterwards.
type job func(ctx context.Context, p *progress) (apply func(now time.Time))

// progress is how far a job is, for the status line.
type progress struct{ text atomic.Pointer[string] }

func (p *progress) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.text.Store(&text)
}

func (p *progress) String() string {
	if text := p.text.Load(); text != nil {
		return *text
	}
	return ""
}

// next is the job that a channel is due for next, and when.
func (l *loop) next(c *channel, now time.Time) (at time.Time, next job) {
	if !c.clean && c.repair.failures == 0 {
		return c.repair.at, l.repair(c) // nothing comes before it
	}
	at, next = c.renew.at, l.renewal(c)
	consider := func(t time.Time, j job) {
		if t.Before(at) {
			at, next = t, j
		}
	}
	consider(c.limit.at, l.limiting(c))
	if l.Watch != nil {
		if look := l.Watch(c.agent, c.config); look != nil {
			consider(c.watch, l.watching(c, look))
		}
	}
	if !c.clean {
		consider(c.repair.at, l.repair(c))
	}
	if c.slots != nil && c.slots.clockSetBack(now) {
		l.Log.Warn("the clock was set back: looking again at what was served", "channel", c.name)
		c.slots, c.read.at = nil, now
	}
	switch {
	case c.schedule == nil:
	case c.slots == nil:
		consider(c.read.at, l.reading(c))
	default:
		slot, t := c.slots.next(now)
		if !slot.Equal(c.said) {
			c.said = slot
			l.Log.Info("next run", "channel", c.name, "slot", slot, "at", t)
		}
		consider(t, l.publication(c, slot, now))
	}
	return at, next
}

// jitter draws the delay of the next slot.
func (c *channel) jitter() time.Duration {
	if c.config.Jitter == 0 {
		return 0
	}
	return rand.N(time.Duration(c.config.Jitter))
}
