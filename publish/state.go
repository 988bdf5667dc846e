package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/internal/durable"
)

// What an agent keeps of a channel between runs lies in two small files of the
// state directory: <channel>.lock and <channel>.sequence. The catalog has the
// same two; no channel can be named like it.

// lockPoll is how often a run looks whether another one is done with the catalog.
const lockPoll = 20 * time.Millisecond

// lock takes the channel for this process until it is unlocked or ends.
func (p *Publisher) lock(channel string) (*flock.Flock, error) {
	if err := errors.Join(p.check(), manifest.CheckChannel(channel)); err != nil {
		return nil, err
	}
	lock, err := p.openLock(channel)
	if err != nil {
		return nil, err
	}
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock channel %s: %w", channel, err)
	}
	if !locked {
		holder, _ := os.ReadFile(lock.Path())
		return nil, fmt.Errorf("%w: channel %s is being published or pruned by process %s, which holds %s: wait for it to end",
			ErrInUse, channel, strings.TrimSpace(string(holder)), lock.Path())
	}
	// For the message above, in another process.
	if err := os.WriteFile(lock.Path(), fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("lock channel %s: %w", channel, err), lock.Unlock())
	}
	return lock, nil
}

func (p *Publisher) openLock(name string) (*flock.Flock, error) {
	if err := durable.MkdirAll(p.StateDir); err != nil {
		return nil, fmt.Errorf("create state directory: %w", err)
	}
	return flock.New(filepath.Join(p.StateDir, name+".lock")), nil
}

func (p *Publisher) sequencePath(name string) string {
	return filepath.Join(p.StateDir, name+".sequence")
}

// usedSequence is the highest sequence that this agent signed under the name, 0
// if none. Targets may lose theirs; those who fetch remember.
func (p *Publisher) usedSequence(name string) (int64, error) {
	path := p.sequencePath(name)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(string(b), "\n"), 10, 64)
	if err != nil || n < 1 || n > manifest.MaxSequence {
		return 0, fmt.Errorf("%s holds %.40q, not a sequence: remove it if the targets' heads are the latest ones", path, b)
	}
	return n, nil
}

// useSequence records a sequence before anything is signed with it. A run that
// dies afterwards wastes a number; two texts under one number would look like
// an attack to those who saw both.
func (p *Publisher) useSequence(name string, n int64) error {
	if err := durable.WriteFile(p.StateDir, p.sequencePath(name), fmt.Appendln(nil, n)); err != nil {
		return fmt.Errorf("record sequence %d: %w", n, err)
	}
	return nil
}
