package fork

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// program is a program to run. No shell reads its words.
type program struct {
	argv    []string
	timeout time.Duration
	// kill is how long after it was told to end it is killed; 0 is never, for
	// programs that would leave a device suspended.
	kill   time.Duration
	stdout *os.File // nil is the end of an error message
}

func (p *program) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("it did not end within %s", p.timeout))
	defer cancel()
	output, err := scratchFile()
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.CommandContext(ctx, p.argv[0], p.argv[1:]...)
	// Files and not pipes: what the program leaves in the background keeps its
	// output open, and must not be waited for.
	cmd.Stdout, cmd.Stderr = output, output
	if p.stdout != nil {
		cmd.Stdout = p.stdout
	}
	// A Ctrl-C at the terminal is for the agent, which ends the program in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	cmd.WaitDelay = p.kill
	err = cmd.Run()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("run %q: %w%s", strings.Join(p.argv, " "), err, tail(output))
}

// output runs the program and returns what it writes to its standard output.
func (p program) output(ctx context.Context) ([]byte, error) {
	f, err := scratchFile()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.stdout = f
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// scratchFile is a file without a name.
func scratchFile() (*os.File, error) {
	f, err := os.CreateTemp("", "qsync-output-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// longestTail is how much of the end of a program's output an error shows.
const longestTail = 2 << 10

// tail is the end of the output on a line of its own, or nothing.
func tail(f *os.File) string {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	b := make([]byte, min(size, longestTail))
	if _, err := f.ReadAt(b, size-int64(len(b))); err != nil {
		return ""
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(b), ""))
	if text == "" {
		return ""
	}
	return ", its output ends:\n" + text
}
