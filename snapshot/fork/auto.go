package fork

import (
	"context"
	"fmt"
	"strings"

	"github.com/qsync/qsync/snapshot"
)

// auto takes the first way that works. Each tries itself on the database's
// filesystem when it begins.
type auto struct{ cleaner }

// ways are what auto tries, the best first. A snapshot of a btrfs subvolume takes
// one step in the pause, where reflink takes one for each file and each extent that
// changed. Links cost nothing; a snapshot of a classic logical volume slows all
// writes down, and breaks when it is full, so it is for databases that cannot be
// linked. A copy is made in the pause.
var ways = []snapshot.Forker{btrfs{}, reflink, hardlink{}, lvm{}, byCopy}

func (auto) String() string { return "auto" }

func (auto) Begin(ctx context.Context, db *snapshot.Tree) (snapshot.Fork, error) {
	var failed []error
	for _, way := range ways {
		f, err := way.Begin(ctx, db)
		if err == nil {
			return &chosen{Fork: f, failed: failed}, nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		failed = append(failed, fmt.Errorf("%s: %w", way, err))
	}
	return nil, fmt.Errorf("no fork works here: %s", join(failed))
}

// chosen is a fork that says why it was chosen.
type chosen struct {
	snapshot.Fork
	failed []error // what was better and did not work
}

// Copy implements [snapshot.Copier], which all forks of this package are.
func (c *chosen) Copy(ctx context.Context, db *snapshot.Tree) (string, func() error, error) {
	return c.Fork.(snapshot.Copier).Copy(ctx, db)
}

func (c *chosen) String() string {
	if len(c.failed) == 0 {
		return c.Fork.String() + ", the best there is"
	}
	return c.Fork.String() + ", because " + join(c.failed)
}

func join(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}
