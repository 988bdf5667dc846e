package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/qsync/qsync/snapshot"
)

// Signal stops a process by SIGSTOP and lets it go on by SIGCONT.
//
// After PIDFile was removed or names another process, another program cannot find the
// process that was stopped.
type Signal struct {
	PIDFile string // holds the number of the node's process
	// Database, if it is set, lets Quiesce notice that the pid file is stale and
	// names a process that has another use.
	Database Database
	Timeout  time.Duration // for all threads to stop; 0 is 10 s

	mu   sync.Mutex
	held *os.Process // that Quiesce stopped last; the file may name another one since
}

func (s *Signal) String() string { return "the process of " + s.PIDFile }

// Check reports whether the process is the database's and may be signalled.
func (s *Signal) Check(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	process, err := findProcess(s.PIDFile)
	if err != nil {
		return err
	}
	defer func() { _ = process.Release() }() // which has nothing to tell
	return s.checkWriter(process.Pid)
}

// Quiesce stops the process and returns when each of its threads stands still.
func (s *Signal) Quiesce(ctx context.Context) error {
	ctx, cancel := within(ctx, s.Timeout, defaultTimeout, "it did not stop")
	defer cancel()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	process, err := findProcess(s.PIDFile)
	if err != nil {
		return err
	}
	if err := s.checkWriter(process.Pid); err != nil {
		_ = process.Release() // which has nothing to tell
		return err
	}
	s.hold(process)
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop process %d: %w", process.Pid, gone(err))
	}
	if err := waitStopped(ctx, process.Pid); err != nil {
		return fmt.Errorf("stop process %d: %w", process.Pid, err)
	}
	return nil
}

// hold keeps the process for Resume.
func (s *Signal) hold(process *os.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		_ = s.held.Release()
	}
	s.held = process
}

// Resume lets the process go on. To a process that runs it does nothing.
func (s *Signal) Resume(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	process, err := findProcess(s.PIDFile)
	if s.held != nil && (err != nil || process.Pid != s.held.Pid) {
		if heldErr := gone(s.held.Signal(syscall.SIGCONT)); heldErr != nil && !errors.Is(heldErr, snapshot.ErrNodeGone) {
			err = errors.Join(err, fmt.Errorf("continue process %d: %w", s.held.Pid, heldErr))
		}
	}
	if err != nil {
		return err
	}
	defer func() { _ = process.Release() }() // which has nothing to tell
	if err := process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue process %d: %w", process.Pid, gone(err))
	}
	return nil
}

// checkWriter refuses a process that is known not to be the database's.
func (s *Signal) checkWriter(pid int) error {
	open, err := s.Database.isOpenIn(pid)
	if err == nil && !open {
		err = fmt.Errorf("process %d of %s does not have the database %s open: the pid file is stale, or names another program",
			pid, s.PIDFile, s.Database.Path)
	}
	return err
}

// waitStopped waits until every thread of the process stands still: a signal
// stops a thread only when it comes back from the kernel, and until then its
// write may still go on. It looks twice: a thread that was made while the signal
// was on its way is missing in the first list, and after that none is made.
func waitStopped(ctx context.Context, pid int) error {
	running := 0
	err := until(ctx, func() (_ bool, err error) {
		for range 2 {
			if running, err = runningThreads(pid); running > 0 || err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil && running > 0 {
		return fmt.Errorf("%d of its threads still run: %w", running, err)
	}
	return err
}

func runningThreads(pid int) (int, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return 0, err
	}
	running, alive := 0, 0
	for _, t := range threads {
		b, err := os.ReadFile(t)
		if err != nil {
			continue // the thread has ended
		}
		// The state follows the name, which is in parentheses and may hold any.
		_, rest, ok := bytes.Cut(b[bytes.LastIndexByte(b, ')')+1:], []byte(" "))
		if !ok || len(rest) == 0 {
			return 0, fmt.Errorf("read %s: no state in %q", t, b)
		}
		switch rest[0] {
		case 'T', 't':
			alive++
		case 'Z', 'X', 'x': // ended
		default:
			alive++
			running++
		}
	}
	if alive == 0 {
		return 0, snapshot.ErrNodeGone
	}
	return running, nil
}
