package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish"
)

// Holder is who holds a lock, as the lock file says it.
type Holder struct {
	Process int       `json:"process"`
	Program string    `json:"program"` // the agent, or qsyncd publish
	Doing   string    `json:"doing,omitempty"`
	Since   time.Time `json:"since"`
}

// String reads like: the agent (process 123).
func (h Holder) String() string { return fmt.Sprintf("%s (process %d)", h.Program, h.Process) }

// The programs that hold locks.
const (
	theAgent = "the agent"
	byHand   = "qsyncd publish"
)

// How a lock is waited for. Whoever only looks whether a lock is held has it
// himself for a moment.
const (
	lockPatience = time.Second
	lockPoll     = 50 * time.Millisecond
	longLockPoll = time.Second
)

// The lock of a channel's runs, and that of the agent. No channel has a name
// with a dot.
func runLockFile(state, channel string) string { return filepath.Join(state, channel+".run.lock") }
func agentLockFile(state string) string        { return filepath.Join(state, "qsyncd.agent.lock") }

// busyError says that somebody else holds a lock.
type busyError struct {
	what   string // channel polkadot-rocksdb-archive
	path   string
	holder Holder // its zero value if the file does not say
}

func (e *busyError) Unwrap() error { return publish.ErrInUse }

func (e *busyError) Error() string {
	if e.holder == (Holder{}) {
		return fmt.Sprintf("%s: %s: another run holds %s", e.what, publish.ErrInUse, e.path)
	}
	return fmt.Sprintf("%s: %s: %s is %s since %s", e.what, publish.ErrInUse, e.holder,
		cmp.Or(e.holder.Doing, "running"), e.holder.Since.Local().Format(time.DateTime))
}

// Hint is what to do about it.
func (e *busyError) Hint() string {
	if e.holder == (Holder{}) {
		return "wait for it to end"
	}
	return "add --wait to publish as soon as it has ended"
}

// unlock gives a lock free. What it says of its holder must not be taken for what
// the next one does, who may say nothing.
func unlock(l *flock.Flock) {
	_ = os.Truncate(l.Path(), 0)
	l.Unlock()
}

// lock takes a lock file for this process, or returns a busyError.
func lock(ctx context.Context, file, what string, me Holder, log *slog.Logger) (*flock.Flock, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	l := flock.New(file, flock.SetPermissions(0o644))
	patience, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	locked, err := l.TryLockContext(patience, lockPoll)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && !errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("lock %s: %w", what, err)
	case !locked:
		return nil, &busyError{what, file, readHolder(file)}
	}
	me.Process, me.Since = os.Getpid(), time.Now().Truncate(time.Second)
	note, err := json.Marshal(me)
	if err == nil {
		err = os.WriteFile(file, append(note, '\n'), 0o644)
	}
	if err != nil {
		// The lock is held all the same, and what has to be repaired on a full disk
		// must not wait.
		log.Warn("the lock file does not say who holds it", "error", err)
	}
	return l, nil
}

// waitForLock is like lock, but waits until the lock is free.
func waitForLock(ctx context.Context, file, what string, me Holder, log *slog.Logger) (*flock.Flock, error) {
	for said := false; ; said = true {
		l, err := lock(ctx, file, what, me, log)
		if busy := (*busyError)(nil); !errors.As(err, &busy) {
			return l, err
		}
		if !said {
			log.Info("waiting for another run to end", "because", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(longLockPoll):
		}
	}
}

// held reports whether somebody holds a lock file, and who. It makes no file.
func held(file string) (Holder, bool) {
	if _, err := os.Stat(file); err != nil {
		return Holder{}, false
	}
	l := flock.New(file, flock.SetFlag(os.O_RDONLY))
	free, err := l.TryRLock()
	if free {
		_ = l.Unlock()
	}
	return readHolder(file), !free && err == nil
}

func readHolder(file string) (h Holder) {
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &h) != nil {
		return Holder{} // one who wrote nothing, or is about to
	}
	return h
}

// Running reports whether an agent works with a state directory.
func Running(state string) bool {
	_, alive := held(agentLockFile(state))
	return alive
}

// lockAgent makes sure that only one agent works with a state directory.
func lockAgent(ctx context.Context, state string, log *slog.Logger) (*flock.Flock, error) {
	l, err := lock(ctx, agentLockFile(state), "state directory "+state, Holder{Program: theAgent}, log)
	if errors.Is(err, publish.ErrInUse) {
		err = term.WithHint(err, "one agent publishes all channels; systemctl status qsyncd may show it")
	}
	return l, err
}
