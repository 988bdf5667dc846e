package nodetest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Program is a process that appends to a file without pause. It may end and be
// started again, as a service manager would do with it.
type Program struct {
	File    string // that it writes
	PIDFile string

	t    *testing.T
	attr *syscall.SysProcAttr

	mu   sync.Mutex
	life *life
}

// life is one process of the program.
type life struct {
	process *os.Process
	ended   chan struct{}
	state   *os.ProcessState // once it has ended
}

// Start runs a program until the test ends. attr may be nil.
func Start(t *testing.T, attr *syscall.SysProcAttr) *Program {
	t.Helper()
	dir := t.TempDir()
	p := &Program{File: filepath.Join(dir, "written"), PIDFile: filepath.Join(dir, "pid"), t: t, attr: attr}
	must(t, os.WriteFile(p.File, nil, 0o600))
	t.Cleanup(p.Kill)
	p.Start()
	return p
}

// Subject is the program as the node that newNode returns.
func (p *Program) Subject(newNode func() Node) *Subject {
	return &Subject{New: newNode, Written: p.Written, PID: p.PID, Remove: p.Kill}
}

// Start starts the program again. If it runs it does nothing.
func (p *Program) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.runs() {
		return
	}
	cmd := exec.Command("sh", "-c", `exec >>"$0"; while :; do echo block; done`, p.File)
	cmd.SysProcAttr = p.attr
	if err := cmd.Start(); err != nil {
		p.t.Errorf("start the program: %v", err)
		return
	}
	l := &life{process: cmd.Process, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // its state tells
		l.state = cmd.ProcessState
		close(l.ended)
	}()
	p.life = l
	if err := os.WriteFile(p.PIDFile, fmt.Appendf(nil, "%d\n", l.process.Pid), 0o600); err != nil {
		p.t.Error(err)
	}
}

func (l *life) runs() bool {
	if l == nil {
		return false
	}
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

func (p *Program) current() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life
}

// PID is the number of its process.
func (p *Program) PID() int { return p.current().process.Pid }

// Runs reports whether its process has not ended. One that is frozen runs.
func (p *Program) Runs() bool { return p.current().runs() }

// Written is how many bytes its file has.
func (p *Program) Written() int64 {
	info, err := os.Stat(p.File)
	if err != nil {
		p.t.Error(err)
		return 0
	}
	return info.Size()
}

// Freeze stops the process and returns when it stands still.
func (p *Program) Freeze() {
	l := p.current()
	_ = l.process.Signal(syscall.SIGSTOP) // one that has ended is told by runs
	for l.runs() && !stopped(l.process.Pid) {
		time.Sleep(time.Millisecond)
	}
}

func stopped(pid int) bool {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return bytes.Contains(b, []byte(") T "))
}

// Thaw undoes Freeze.
func (p *Program) Thaw() { p.Signal(syscall.SIGCONT) }

// Signal sends a signal to the process.
func (p *Program) Signal(s syscall.Signal) {
	_ = p.current().process.Signal(s) // one that has ended is told by Runs
}

// Ended is closed when the process that now runs has ended.
func (p *Program) Ended() <-chan struct{} { return p.current().ended }

// ExitCode is that of the last process, which has ended, as a shell says it.
func (p *Program) ExitCode() int {
	l := p.current()
	<-l.ended
	if s := l.state.Sys().(syscall.WaitStatus); s.Signaled() {
		return 128 + int(s.Signal())
	}
	return l.state.ExitCode()
}

// Kill ends the process at once, frozen or not.
func (p *Program) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.Ended()
}
