package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

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
func (c *Command) Quiesce(ctx context.Context) error { return c.run(ctx, c.QuiesceArgv) }

// Resume runs the second one.
func (c *Command) Resume(ctx context.Context) error { return c.run(ctx, c.ResumeArgv) }

// commandKill is how long after its timeout a command is killed.
const commandKill = 5 * time.Second

func (c *Command) run(ctx context.Context, argv []string) error {
	if len(argv) == 0 {
		return errNoCommand
	}
	p := program.Program{Argv: argv, Timeout: cmp.Or(c.Timeout, time.Minute), Kill: commandKill}
	return p.Run(ctx)
}
