package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

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

// Quiesce runs the first command.
func (c *Command) Quiesce(ctx context.Context) error { return c.run(ctx, c.QuiesceArgv) }

// Resume runs the second one.
func (c *Command) Resume(ctx context.Context) error { return c.run(ctx, c.ResumeArgv) }

// maxOutput is how much of the end of a command's output an error shows.
const maxOutput = 2 << 10

func (c *Command) run(ctx context.Context, argv []string) error {
	if len(argv) == 0 {
		return errors.New("run a command: none is configured")
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it did not end within %s", timeout))
	defer cancel()
	// A file and not a pipe: a node that the command leaves in the background keeps
	// its output open, and must not be waited for.
	output, err := os.CreateTemp("", "qsync-command-*")
	if err != nil {
		return err
	}
	defer output.Close()
	if err := os.Remove(output.Name()); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	err = cmd.Run()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("run %q: %w%s", strings.Join(argv, " "), err, tail(output))
}

// tail is the end of the output on a line of its own, or nothing.
func tail(f *os.File) string {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	b := make([]byte, min(size, maxOutput))
	if _, err := f.ReadAt(b, size-int64(len(b))); err != nil {
		return ""
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(b), ""))
	if text == "" {
		return ""
	}
	return ", its output ends:\n" + text
}
