package agent

import (
	"context"
	"errors"
	"time"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/snapshot"
)

// repairInterval is the longest time between attempts to let a node go on.
const repairInterval = time.Minute

// repair undoes what an agent left that was killed: first of all a node that
// stands still.
func (l *loop) repair(c *channel) job {
	cfg, conf := c.agent, c.config
	return func(ctx context.Context, p *progress) func(time.Time) {
		p.say("repairing")
		err := func() error {
			lock, err := lock(ctx, runLockFile(cfg.State, conf.Name), "channel "+conf.Name, Holder{Program: theAgent, Doing: "repairing"}, l.Log)
			if errors.Is(err, publish.ErrInUse) {
				return nil // by a run that has seen to it, and is not to be disturbed
			} else if err != nil {
				return err
			}
			defer unlock(lock)
			o, err := options(cfg, conf)
			if err == nil {
				err = snapshot.Recover(ctx, o.Node, o.Forker, o.StateFile)
			}
			return errors.Join(err, status.In(cfg.State).MarkKilled(conf.Name))
		}()
		return func(now time.Time) {
			if err == nil {
				c.clean = true
				return
			}
			if ctx.Err() == nil {
				l.Log.Error("what an earlier run left is not repaired", "channel", conf.Name, "error", err)
			}
			c.repair.failed(now, repairInterval)
		}
	}
}
