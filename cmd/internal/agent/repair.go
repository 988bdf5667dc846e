package agent

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/status"
)

// repairInterval is the longest time between attempts to let a node go on.
const repairInterval = time.Minute

// leftBehind reports whether a run that has ended left a node or a fork to be
// seen to.
func leftBehind(a *config.Agent, c *config.Channel) bool {
	_, err := os.Lstat(stateFile(a, c))
	return err == nil
}

// repair undoes what an agent left that was killed: first of all a node that
// stands still.
func (l *loop) repair(c *channel) job {
	cfg, conf := c.agent, c.config
	return func(ctx context.Context, p *progress) func(time.Time) {
		p.say("repairing")
		err := func() error {
			held, err := lock(ctx, runLockFile(cfg.State, conf.Name), "channel "+conf.Name, Holder{Program: theAgent, Doing: "repairing"}, l.Log.With("channel", conf.Name))
			if errors.Is(err, publish.ErrInUse) {
				return nil // by a run that has seen to it, and is not to be disturbed
			} else if err != nil {
				return err
			}
			defer unlock(held)
			o, err := options(cfg, conf)
			if err == nil {
				err = undo(ctx, cfg, conf, o, lock, theAgent, l.Log)
			}
			if err = errors.Join(err, status.RunsIn(cfg.State).MarkKilled(conf.Name)); err == nil {
				l.finish(ctx, cfg, conf.Name)
			}
			return err
		}()
		return func(now time.Time) {
			if err == nil {
				c.clean = true
				return
			}
			if ctx.Err() == nil {
				l.Log.Error("what an earlier run left is not repaired", append([]any{"channel", conf.Name}, because(err)...)...)
			}
			c.repair.failed(now, repairInterval)
		}
	}
}

// finish brings to an end what a run that was killed has begun on the targets: one
// that it had published on the first only, or not yet listed in the catalog. Should that
// fail, the next run does it.
func (l *loop) finish(ctx context.Context, a *config.Agent, channel string) {
	last, err := status.RunsIn(a.State).Last(channel, 1)
	if err != nil || len(last) == 0 || last[0].Outcome != status.Interrupted {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, renewalTimeout)
	defer cancel()
	publisher, err := NewPublisher(a, l.Log.With("channel", channel))
	if err == nil {
		var run *publish.Run
		if run, err = publisher.Begin(ctx, channel); err == nil {
			err = run.Close()
		}
	}
	if err != nil && ctx.Err() == nil {
		l.Log.Warn("what an interrupted run left on the targets is finished by the next one", append([]any{"channel", channel}, because(err)...)...)
	}
}
