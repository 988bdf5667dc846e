package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot/program"
)

var errNoCommand = errors.New("run a command: none is configured")

// Command stops and starts the node by two commands. Both must be such that
// running them twice is the same as running them once, and each must return
// when the node is stopped or started.
type Command struct {
	QuiesceArgv []string
	ResumeArgv  []string
	Timeout     time.Duration // of each; 0 is one minute
	// Lock is a file that is locked while QuiesceArgv runs, and that another process's
	// Resume waits for: a command outlives the process that has started it, and would
	// stop the node when nobody is there any more to start it. Empty is none.
	Lock string
}

func (c *Command) String() string {
	return fmt.Sprintf("the node of %q", strings.Join(c.QuiesceArgv, " "))
}

// Check reports whether the programs of both commands can be run.
func (c *Command) Check(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for _, argv := range [][]string{c.QuiesceArgv, c.ResumeArgv} {
		if len(argv) == 0 {
			return errNoCommand
		}
		if _, err := exec.LookPath(argv[0]); err != nil {
			return fmt.Errorf("look for the program of %q: %w", strings.Join(argv, " "), err)
		}
	}
	return nil
}

// Quiesce runs the first command.
func (c *Command) Quiesce(ctx context.Context) error {
	p, err := c.program(c.QuiesceArgv)
	if err != nil {
		return err
	}
	if c.Lock == "" {
		return p.Run(ctx)
	}
	lock, err := c.openLock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock %s: %w: the command of an earlier run has not ended", c.Lock, err)
	}
	p.Kept = lock // by what it starts, too
	err = p.Run(ctx)
	// What it leaves in the background may keep the file open.
	return errors.Join(err, unix.Flock(int(lock.Fd()), unix.LOCK_UN))
}

// Resume runs the second one, after the first one has ended, whoever started it.
func (c *Command) Resume(ctx context.Context) error {
	p, err := c.program(c.ResumeArgv)
	if err != nil {
		return err
	}
	c.await(ctx, p.Timeout)
	return p.Run(ctx)
}

// await waits until the first command does not run, but not for ever: one that
// hangs must not keep the node from being resumed.
func (c *Command) await(ctx context.Context, most time.Duration) {
	if c.Lock == "" {
		return
	}
	lock, err := c.openLock()
	if err != nil {
		return // then Quiesce has failed for it, too
	}
	defer lock.Close()
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)/2) // the rest is for the second command
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	_ = until(ctx, func() (bool, error) {
		return unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil, nil
	})
}

func (c *Command) openLock() (*os.File, error) {
	return os.OpenFile(c.Lock, os.O_RDONLY|os.O_CREATE, 0o644)
}

// commandKill is how long after its timeout a command is killed.
const commandKill = 5 * time.Second

func (c *Command) program(argv []string) (*program.Program, error) {
	if len(argv) == 0 {
		return nil, errNoCommand
	}
	return &program.Program{Argv: argv, Timeout: cmp.Or(c.Timeout, time.Minute), Kill: commandKill}, nil
}
