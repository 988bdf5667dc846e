package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/snapshot"
)

// locker is lock or waitForLock.
type locker func(ctx context.Context, file, what string, me Holder, log *slog.Logger) (*flock.Flock, error)

// lockNode keeps the runs of other channels away from a node that they share, like
// a collator with the databases of two chains: whoever lets it go on first would
// let it write into the cut of the other. What is returned gives the lock free.
func lockNode(ctx context.Context, a *config.Agent, c *config.Channel, take locker, me Holder, log *slog.Logger) (free func(), err error) {
	if c.Node.None != nil {
		return func() {}, nil
	}
	file, err := nodeLockFile(a.State, c.Node)
	if err != nil {
		return nil, err
	}
	l, err := take(ctx, file, "the node of channel "+c.Name, me, log)
	if err != nil {
		return nil, err
	}
	return func() { unlock(l) }, nil
}

// oneAtATime has the lock of the node for as long as a guard watches it: that is
// for the pause.
type oneAtATime struct {
	snapshot.Guard
	lock func(ctx context.Context) (free func(), err error)
}

func (g *oneAtATime) Watch(ctx context.Context, limit time.Duration) (stop func(held bool) error, _ error) {
	free, err := g.lock(ctx)
	if err != nil {
		return nil, err
	}
	release, err := g.Guard.Watch(ctx, limit)
	if err != nil {
		free()
		return nil, err
	}
	return func(held bool) error {
		defer free()
		return release(held)
	}, nil
}

// CheckNode reports whether the channel's node can be held. It has the lock
// meanwhile: some nodes are asked to go on, to see whether they would.
func CheckNode(ctx context.Context, a *config.Agent, c *config.Channel, check func(context.Context) error) error {
	free, err := lockNode(ctx, a, c, lock, Holder{Program: byHand, Doing: "checking whether it can be held"}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer free()
	return check(ctx)
}

// nodeLockFile is named after what the configuration says of the node. No channel
// has a name with a dot.
func nodeLockFile(state string, n config.Node) (string, error) {
	text, err := json.Marshal(n)
	if err != nil {
		return "", fmt.Errorf("name the lock of the node: %w", err)
	}
	sum := sha256.Sum256(text)
	return filepath.Join(state, "node."+hex.EncodeToString(sum[:8])+".lock"), nil
}

// undo undoes what a run of the channel left that was killed.
func undo(ctx context.Context, a *config.Agent, c *config.Channel, o snapshot.Options, take locker, program string, log *slog.Logger) error {
	free, err := lockNode(ctx, a, c, take, Holder{Program: program, Doing: "repairing"}, log)
	if err != nil {
		return err
	}
	defer free()
	return snapshot.Recover(ctx, o.Node, o.Forker, o.StateFile)
}
