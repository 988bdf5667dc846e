package node

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// defaultTimeout is how long a node may take to stand still, or to go on.
const defaultTimeout = 10 * time.Second

// startTimeout is how long a node may take to end and to start again. It
// bounds a Resume that has no deadline of its own, which is that of a guard.
const startTimeout = 2 * time.Minute

// within bounds a context; 0 is the other time.
func within(ctx context.Context, timeout, otherwise time.Duration, what string) (context.Context, context.CancelFunc) {
	timeout = cmp.Or(timeout, otherwise)
	return context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s within %s", what, timeout))
}

// until asks, at first often and then less so, until the answer is yes.
func until(ctx context.Context, is func() (bool, error)) error {
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		if yes, err := is(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}
