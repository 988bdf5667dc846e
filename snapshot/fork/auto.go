package fork

import (
	"context"
	"fmt"
	"strings"

	"github.com/qsync/qsync/snapshot"
)

// auto takes the first way that works, the safest and quickest first. Each
// tries itself on the database's filesystem when it begins.
type auto struct{ cleaner }

func (auto) String() string { return "auto" }

func (auto) Begin(ctx context.Context, db *snapshot.Tree) (snapshot.Fork, error) {
	var failed []error
	for _, way := range []snapshot.Forker{reflink, hardlink{}, byCopy} {
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
