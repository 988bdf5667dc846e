// Package program runs the programs that a configuration or a system has for
// qsync. No shell reads their words.
package program

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

// Program is a program to run.
type Program struct {
	Argv    []string      // its name or path, and its arguments
	Timeout time.Duration // after which it is told to end, by SIGTERM; 0 is none
	// Kill is how long after it was told to end it is killed, with all that it has
	// started; 0 is never, for programs that would leave a device suspended.
	Kill   time.Duration
	Stdout *os.File // nil is the end of an error message
	Kept   *os.File // stays open as long as the program runs, or anything that it starts; nil is none
}

// Run runs the program, and all that it starts, in a process group of its own. The
// error has the end of what it printed.
func (p *Program) Run(ctx context.Context) error {
	if p.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.Timeout, fmt.Errorf("it did not end within %s", p.Timeout))
		defer cancel()
	}
	output, err := ScratchFile()
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.CommandContext(ctx, p.Argv[0], p.Argv[1:]...)
	// Files and not pipes: what the program leaves in the background keeps its
	// output open, and must not be waited for.
	cmd.Stdout, cmd.Stderr = output, output
	if p.Stdout != nil {
		cmd.Stdout = p.Stdout
	}
	if p.Kept != nil {
		cmd.ExtraFiles = []*os.File{p.Kept}
	}
	// A Ctrl-C at the terminal is for the agent, which ends the program in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var told time.Time
	cmd.Cancel = func() error {
		told = time.Now()
		return unix.Kill(-cmd.Process.Pid, unix.SIGTERM)
	}
	cmd.WaitDelay = p.Kill
	err = cmd.Run()
	if !told.IsZero() && p.Kill > 0 {
		endGroup(cmd.Process.Pid, told.Add(p.Kill))
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("run %q: %w%s", strings.Join(p.Argv, " "), err, tail(output))
}

// groupPoll is how often a process group is looked at that was told to end.
const groupPoll = 10 * time.Millisecond

// endGroup waits for the end of the processes of a group, and kills those that are
// there after the deadline: a shell ends at once and leaves behind what it has
// started, which goes on with what is no longer to be done.
func endGroup(group int, deadline time.Time) {
	for unix.Kill(-group, 0) == nil {
		if time.Now().After(deadline) {
			_ = unix.Kill(-group, unix.SIGKILL) // it may have ended meanwhile
			return
		}
		time.Sleep(groupPoll)
	}
}

// Output runs the program and returns what it writes to its standard output.
func (p Program) Output(ctx context.Context) ([]byte, error) {
	f, err := ScratchFile()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.Stdout = f
	if err := p.Run(ctx); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// ScratchFile is a file without a name.
func ScratchFile() (*os.File, error) {
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
