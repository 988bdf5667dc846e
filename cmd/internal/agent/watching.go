package agent

import (
	"context"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
)

// watchesPerStuck is how often the node is looked at in the time that it may
// stand still: then it is known soon after that it does.
const watchesPerStuck = 3

// watchTimeout bounds a look, which the channel's next run waits for.
const watchTimeout = 30 * time.Second

// NewWatch is how the daemon looks at the node of a channel between runs, nil if
// the configuration does not say where it answers. What it returns is why the node
// must not be published from.
func NewWatch(a *config.Agent, c *config.Channel) func(context.Context) error {
	ask := NewPreflight(a, c)
	if ask == nil {
		return nil
	}
	return func(ctx context.Context) error {
		_, _, err := ask(ctx)
		return err
	}
}

// watching looks at the node, and says when it falls ill and when it is well again:
// the operator is to hear of it before the next run, which may be a day away.
func (l *loop) watching(c *channel, look func(context.Context) error) job {
	name, interval := c.name, time.Duration(c.config.Preflight.Stuck)/watchesPerStuck
	return func(ctx context.Context, p *progress) func(time.Time) {
		p.say("looking at the node")
		within, cancel := context.WithTimeout(ctx, watchTimeout)
		defer cancel()
		err := look(within)
		return func(now time.Time) {
			c.watch = now.Add(interval)
			switch {
			case ctx.Err() != nil:
			case err != nil && !c.ill:
				l.Log.Warn("the node is not fit to be published from", append([]any{"channel", name}, because(err)...)...)
				c.ill = true
			case err == nil && c.ill:
				l.Log.Info("the node is well again", "channel", name)
				c.ill = false
			}
		}
	}
}
