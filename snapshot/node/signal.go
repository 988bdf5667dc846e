package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
)

// Signal stops a process by SIGSTOP and lets it go on by SIGCONT.
type Signal struct {
	PIDFile string // holds the number of the node's process
	// Database, if it is set, lets Quiesce notice that the pid file is stale and
	// names a process that has another use.
	Database Database
	Timeout  time.Duration // for all threads to stop; 0 is 10 s
}

func (s *Signal) String() string { return "the process of " + s.PIDFile }

// Quiesce stops the process and returns when each of its threads stands still.
func (s *Signal) Quiesce(ctx context.Context) error {
	process, err := s.find()
	if err != nil {
		return err
	}
	defer func() { _ = process.Release() }() // which has nothing to tell
	if err := s.checkWriter(process.Pid); err != nil {
		return err
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("process %d did not stop within %s", process.Pid, timeout))
	defer cancel()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop process %d: %w", process.Pid, gone(err))
	}
	return waitStopped(ctx, process.Pid)
}

// Resume lets the process go on. To a process that runs it does nothing.
func (s *Signal) Resume(context.Context) error {
	process, err := s.find()
	if err != nil {
		return err
	}
	defer func() { _ = process.Release() }() // which has nothing to tell
	if err := process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue process %d: %w", process.Pid, gone(err))
	}
	return nil
}

func (s *Signal) find() (*os.Process, error) {
	b, err := os.ReadFile(s.PIDFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", snapshot.ErrNodeGone, err)
	} else if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	// 0 and below would signal groups of processes, 1 is the system's own.
	if err != nil || pid < 2 {
		return nil, fmt.Errorf("read %s: %.40q is not the number of a process", s.PIDFile, b)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("find process %d: %w", pid, err)
	}
	if err := process.Signal(syscall.Signal(0)); err != nil {
		return nil, fmt.Errorf("find process %d of %s: %w", pid, s.PIDFile, gone(err))
	}
	return process, nil
}

func gone(err error) error {
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, unix.ESRCH) {
		return snapshot.ErrNodeGone
	}
	return err
}

// checkWriter reports whether the process has the database open, as far as that
// can be known: stopping another one would not stop the writes.
func (s *Signal) checkWriter(pid int) error {
	locks, err := s.Database.locks()
	if err != nil || len(locks) == 0 {
		return err
	}
	var want []os.FileInfo
	for _, l := range locks {
		if info, err := os.Stat(l); err == nil {
			want = append(want, info)
		}
	}
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(fds)
	if err != nil {
		return fmt.Errorf("look what process %d has open: %w", pid, err)
	}
	for _, fd := range open {
		info, err := os.Stat(filepath.Join(fds, fd.Name()))
		if err != nil {
			continue // closed since
		}
		for _, w := range want {
			if os.SameFile(info, w) {
				return nil
			}
		}
	}
	return fmt.Errorf("process %d of %s does not have the database %s open: the pid file is stale, or names another program",
		pid, s.PIDFile, s.Database.Path)
}

// waitStopped waits until every thread of the process stands still: a signal
// stops a thread only when it comes back from the kernel, and until then its
// write may still go on. It looks twice: a thread that was made while the signal
// was on its way is missing in the first list, and after that none is made.
func waitStopped(ctx context.Context, pid int) error {
	still := false
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		running, err := runningThreads(pid)
		if err != nil {
			return err
		}
		if running == 0 && still {
			return nil
		}
		if still = running == 0; still {
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of its threads still run: %w", running, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
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
		return 0, fmt.Errorf("stop process %d: %w", pid, snapshot.ErrNodeGone)
	}
	return running, nil
}
