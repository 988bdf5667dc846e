package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockTimeout is how long a guard waits for another one on the same node: longer
// than a node is held as a rule.
const (
	lockTimeout = 2 * time.Minute
	lockPoll    = 20 * time.Millisecond
)

// lock locks a file until it is closed, or this process ends. What this process
// starts has no part in it.
func lock(ctx context.Context, file string) (*os.File, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.OpenFile(file, os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lockTimeout, errors.New("another run holds the node, or the guard of an earlier one still tries to let it go"))
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			select {
			case <-time.After(lockPoll):
				continue
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
}
