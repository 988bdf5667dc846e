package agent

import (
	"context"
	"errors"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish"
)

// A head is signed again when a third of its time is over. Whoever reads one that
// is older than that knows that its agent has trouble, long before it expires.
const renewals = 3

// renewalTimeout bounds an attempt: a target that hangs must not keep the channel from
// being published.
const renewalTimeout = 10 * time.Minute

// renewalInterval is how long a head stays as it is.
func renewalInterval(a *config.Agent) time.Duration { return time.Duration(a.HeadTTL) / renewals }

// renewal signs the head and the catalog again when it is time.
func (l *loop) renewal(c *channel) job {
	cfg, conf := c.agent, c.config
	return func(ctx context.Context, p *progress) func(time.Time) {
		p.say("renewing")
		within, cancel := context.WithTimeout(ctx, renewalTimeout)
		defer cancel()
		next, err := l.renewHead(within, cfg, conf.Name)
		return func(now time.Time) {
			if err == nil {
				c.renew = attempts{at: next}
				return
			}
			switch {
			case ctx.Err() != nil:
			case errors.Is(err, publish.ErrInUse):
				l.Log.Info("the head is renewed later", "channel", conf.Name, "because", err.Error())
			default:
				l.Log.Warn("the head is not renewed", append([]any{"channel", conf.Name}, because(err)...)...)
			}
			c.renew.failed(now, renewalInterval(cfg)/2)
		}
	}
}

// renewHead renews a head that is due, and returns when to look at it again.
func (l *loop) renewHead(ctx context.Context, a *config.Agent, channel string) (next time.Time, err error) {
	publisher, err := NewPublisher(a, l.Log.With("channel", channel))
	if err != nil {
		return next, err
	}
	interval := renewalInterval(a)
	head, err := standingHead(ctx, publisher, channel)
	if err != nil {
		return next, err
	}
	now := clock()
	if head == nil {
		return now.Add(interval), nil // its first run signs one
	}
	if left := head.Expires.Sub(now); left > time.Duration(a.HeadTTL)-interval {
		return earlier(now.Add(interval), head.Expires.Add(interval-time.Duration(a.HeadTTL))), nil
	}
	lock, err := lock(ctx, runLockFile(a.State, channel), "channel "+channel, Holder{Program: theAgent, Doing: "renewing"}, l.Log.With("channel", channel))
	if err != nil {
		return next, err
	}
	defer unlock(lock)
	if err := publisher.Renew(ctx, channel); err != nil {
		return next, err
	}
	now = clock()
	l.Log.Info("the head is renewed", "channel", channel, "expires", now.Add(time.Duration(a.HeadTTL)).UTC().Truncate(time.Second))
	return now.Add(interval), nil
}
