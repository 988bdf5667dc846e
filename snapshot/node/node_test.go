package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/node"
)

// writer is a process that appends to a file without pause.
type writer struct {
	process *os.Process
	pidFile string
	file    string
	ended   chan struct{}
}

func startWriter(t *testing.T) *writer {
	t.Helper()
	dir := t.TempDir()
	w := &writer{pidFile: filepath.Join(dir, "pid"), file: filepath.Join(dir, "written"), ended: make(chan struct{})}
	cmd := exec.Command("sh", "-c", `exec >>"$0"; while :; do echo block; done`, w.file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.process = cmd.Process
	go func() { defer close(w.ended); _ = cmd.Wait() }()
	t.Cleanup(w.kill)
	if err := os.WriteFile(w.pidFile, fmt.Appendf(nil, "%d\n", w.process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *writer) kill() {
	_ = w.process.Kill()
	<-w.ended
}

func (w *writer) size(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(w.file)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func (w *writer) mustStandStill(t *testing.T) {
	t.Helper()
	before := w.size(t)
	time.Sleep(50 * time.Millisecond)
	if after := w.size(t); after != before {
		t.Errorf("the quiesced node wrote %d bytes", after-before)
	}
}

func (w *writer) mustWrite(t *testing.T) {
	t.Helper()
	before := w.size(t)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if w.size(t) > before {
			return
		}
	}
	t.Error("the resumed node does not write")
}

// TestConformance is what every node that stops a process must do.
func TestConformance(t *testing.T) {
	for name, newNode := range map[string]func(w *writer) snapshot.Node{
		"signal": func(w *writer) snapshot.Node { return &node.Signal{PIDFile: w.pidFile} },
		"command": func(w *writer) snapshot.Node {
			pid := strconv.Itoa(w.process.Pid)
			return &node.Command{
				// The signal is on its way when kill returns, so the command waits for its effect.
				QuiesceArgv: []string{"sh", "-c", "kill -STOP $0; until grep -q '^State:.T' /proc/$0/status; do :; done", pid},
				ResumeArgv:  []string{"kill", "-CONT", pid},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("quiesce and resume", func(t *testing.T) {
				w := startWriter(t)
				n := newNode(w)
				w.mustWrite(t)
				for range 3 {
					check(t, n.Quiesce(t.Context()))
					w.mustStandStill(t)
					check(t, n.Resume(t.Context()))
					w.mustWrite(t)
				}
			})
			t.Run("resume twice, without quiesce, by another instance", func(t *testing.T) {
				w := startWriter(t)
				check(t, newNode(w).Resume(t.Context()))
				check(t, newNode(w).Quiesce(t.Context()))
				check(t, newNode(w).Resume(t.Context()))
				check(t, newNode(w).Resume(t.Context()))
				w.mustWrite(t)
			})
			t.Run("cancelled before", func(t *testing.T) {
				w := startWriter(t)
				n := newNode(w)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := n.Quiesce(ctx); err == nil {
					t.Error("Quiesce succeeds though it is cancelled")
				}
				check(t, n.Resume(t.Context()))
				w.mustWrite(t)
			})
			t.Run("says what it is", func(t *testing.T) {
				if s := newNode(startWriter(t)).String(); len(s) < 5 {
					t.Errorf("String is %q", s)
				}
			})
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSignalStopsEveryThread(t *testing.T) {
	w := startWriter(t)
	n := &node.Signal{PIDFile: w.pidFile}
	for range 20 {
		check(t, n.Quiesce(t.Context()))
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.process.Pid))
		check(t, err)
		if !strings.Contains(string(status), ") T ") {
			t.Fatalf("Quiesce returned while the process was %s", status)
		}
		check(t, n.Resume(t.Context()))
	}
}

func TestSignalKnowsThatTheProcessIsGone(t *testing.T) {
	w := startWriter(t)
	n := &node.Signal{PIDFile: w.pidFile}
	check(t, n.Quiesce(t.Context()))
	w.kill()
	if err := n.Resume(t.Context()); !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Resume = %v, want ErrNodeGone", err)
	}
	if err := n.Quiesce(t.Context()); !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Quiesce = %v, want ErrNodeGone", err)
	}
	check(t, os.Remove(w.pidFile))
	if err := n.Quiesce(t.Context()); !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Quiesce without pid file = %v, want ErrNodeGone", err)
	}
}

func TestSignalRefusesPidFiles(t *testing.T) {
	for _, content := range []string{"", "node", "0", "-1", "1", "12 34", "-12"} {
		file := filepath.Join(t.TempDir(), "pid")
		check(t, os.WriteFile(file, []byte(content), 0o600))
		n := &node.Signal{PIDFile: file}
		if err := n.Quiesce(t.Context()); err == nil || !strings.Contains(err.Error(), "is not the number of a process") {
			t.Errorf("pid file %q: Quiesce = %v", content, err)
		}
	}
}

// rocksdb makes a directory with two RocksDB locks in it.
func rocksdb(t *testing.T) node.Database {
	t.Helper()
	kind, err := database.Lookup("rocksdb")
	check(t, err)
	dir := t.TempDir()
	for _, sub := range []string{"full", "full/parachains/db"} {
		check(t, os.MkdirAll(filepath.Join(dir, sub), 0o700))
		check(t, os.WriteFile(filepath.Join(dir, sub, "LOCK"), nil, 0o600))
	}
	return node.Database{Path: dir, Kind: kind}
}

func TestSignalNoticesAnotherProgramsProcess(t *testing.T) {
	w := startWriter(t)
	db := rocksdb(t)
	n := &node.Signal{PIDFile: w.pidFile, Database: db}
	err := n.Quiesce(t.Context())
	if err == nil || !strings.Contains(err.Error(), "does not have the database") {
		t.Errorf("Quiesce of a process without the database = %v", err)
	}
	w.mustWrite(t)

	// This process has it open now.
	lock, err := os.Open(filepath.Join(db.Path, "full/parachains/db/LOCK"))
	check(t, err)
	defer lock.Close()
	holder := startHolder(t, lock)
	n = &node.Signal{PIDFile: holder.pidFile, Database: db}
	check(t, n.Quiesce(t.Context()))
	check(t, n.Resume(t.Context()))
}

// startHolder starts a process that inherits an open file.
func startHolder(t *testing.T, f *os.File) *writer {
	t.Helper()
	w := &writer{pidFile: filepath.Join(t.TempDir(), "pid"), ended: make(chan struct{})}
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{f}
	check(t, cmd.Start())
	w.process = cmd.Process
	go func() { defer close(w.ended); _ = cmd.Wait() }()
	t.Cleanup(w.kill)
	check(t, os.WriteFile(w.pidFile, strconv.AppendInt(nil, int64(w.process.Pid), 10), 0o600))
	return w
}

func TestSignalGivesUpOnAProcessThatDoesNotStop(t *testing.T) {
	// A parent in vfork waits uninterruptibly for its child, and a stop reaches it only then.
	pidFile := filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command(require.Tool(t, "python3"), "-c", `
import ctypes, os, sys
open(sys.argv[1] + ".new", "w").write(str(os.getpid())); os.rename(sys.argv[1] + ".new", sys.argv[1])
libc = ctypes.CDLL(None)
if libc.vfork() == 0:
    libc.sleep(30); libc._exit(0)
`, pidFile)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	check(t, cmd.Start())
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	n := &node.Signal{PIDFile: pidFile, Timeout: 100 * time.Millisecond}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(pidFile)
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err == nil && strings.Contains(string(status), ") D ") {
			break
		}
	}
	err := n.Quiesce(t.Context())
	if err == nil || !strings.Contains(err.Error(), "did not stop within 100ms") {
		t.Errorf("Quiesce = %v", err)
	}
	check(t, n.Resume(t.Context()))
}

func TestCommandShowsItsOutput(t *testing.T) {
	n := &node.Command{QuiesceArgv: []string{"sh", "-c", "yes line | head -c 9000; echo the node is not there >&2; exit 3"}}
	err := n.Quiesce(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.HasSuffix(err.Error(), "the node is not there") || len(err.Error()) > 3000 {
		t.Errorf("Quiesce = %v", err)
	}
	if err := n.Resume(t.Context()); err == nil {
		t.Error("a command that is not configured succeeds")
	}
}

func TestCommandEndsInTime(t *testing.T) {
	start := time.Now()
	n := &node.Command{QuiesceArgv: []string{"sleep", "60"}, Timeout: 50 * time.Millisecond}
	if err := n.Quiesce(t.Context()); err == nil || !strings.Contains(err.Error(), "did not end within 50ms") {
		t.Errorf("Quiesce = %v", err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
}

// A command may start the node in the background, which keeps its output open.
func TestCommandDoesNotWaitForTheNode(t *testing.T) {
	start := time.Now()
	pidFile := filepath.Join(t.TempDir(), "pid")
	n := &node.Command{ResumeArgv: []string{"sh", "-c", "sleep 20 & echo $! >" + pidFile}}
	check(t, n.Resume(t.Context()))
	b, err := os.ReadFile(pidFile)
	check(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	check(t, err)
	defer func() { check(t, syscall.Kill(pid, syscall.SIGKILL)) }()
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
}

func TestNoneRefusesAnOpenDatabase(t *testing.T) {
	for name, hold := range map[string]func(f *os.File) error{
		"fcntl": func(f *os.File) error { // an OFD lock, for one of the process itself would not show to itself
			return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		},
		"flock": func(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) },
	} {
		t.Run(name, func(t *testing.T) {
			db := rocksdb(t)
			n := &node.None{Database: db}
			f, err := os.OpenFile(filepath.Join(db.Path, "full/parachains/db/LOCK"), os.O_RDWR, 0)
			check(t, err)
			check(t, hold(f))
			if err := n.Quiesce(t.Context()); err == nil || !strings.Contains(err.Error(), "a process has the database open") {
				t.Errorf("Quiesce of an open database = %v", err)
			}
			check(t, n.Resume(t.Context()))
			check(t, f.Close())

			check(t, n.Quiesce(t.Context()))
			again, err := os.OpenFile(filepath.Join(db.Path, "full/LOCK"), os.O_RDWR, 0)
			check(t, err)
			defer again.Close()
			if hold(again) == nil {
				t.Error("a node could open the database during the cut")
			}
			check(t, n.Resume(t.Context()))
			check(t, hold(again))
		})
	}
}
