package node_test

import (
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

	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/node"
	"github.com/qsync/qsync/snapshot/node/nodetest"
)

func TestSignalStopsEveryThread(t *testing.T) {
	w := nodetest.Start(t, nil)
	n := &node.Signal{PIDFile: w.PIDFile}
	for range 20 {
		check(t, n.Quiesce(t.Context()))
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.PID()))
		check(t, err)
		if !strings.Contains(string(status), ") T ") {
			t.Fatalf("Quiesce returned while the process was %s", status)
		}
		check(t, n.Resume(t.Context()))
	}
}

func TestSignalKnowsThatTheProcessIsGone(t *testing.T) {
	w := nodetest.Start(t, nil)
	n := &node.Signal{PIDFile: w.PIDFile}
	check(t, n.Quiesce(t.Context()))
	w.Kill()
	if err := n.Resume(t.Context()); !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Resume = %v, want ErrNodeGone", err)
	}
	if err := n.Quiesce(t.Context()); !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Quiesce = %v, want ErrNodeGone", err)
	}
	check(t, os.Remove(w.PIDFile))
	if err := n.Quiesce(t.Context()); !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Quiesce without pid file = %v, want ErrNodeGone", err)
	}
}

// A process that stands still must go on even if its pid file was taken away, by
// whoever thought it dead.
func TestSignalPidFileChanges(t *testing.T) {
	for name, change := range map[string]func(file string) error{
		"removed": os.Remove,
		"another process": func(file string) error {
			return os.WriteFile(file, strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o600)
		},
	} {
		w := nodetest.Start(t, nil)
		n := &node.Signal{PIDFile: w.PIDFile}
		check(t, n.Quiesce(t.Context()))
		check(t, change(w.PIDFile))
		err := n.Resume(t.Context())
		if err != nil && !errors.Is(err, snapshot.ErrNodeGone) {
			t.Errorf("%s: Resume = %v", name, err)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.PID()))
		check(t, err)
		if strings.Contains(string(status), ") T ") {
			t.Errorf("%s: the process is still stopped", name)
		}
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

func TestSignalNoticesAnotherProgramsProcess(t *testing.T) {
	w := nodetest.Start(t, nil)
	db := rocksdb(t)
	n := &node.Signal{PIDFile: w.PIDFile, Database: db}
	err := n.Quiesce(t.Context())
	if err == nil || !strings.Contains(err.Error(), "does not have the database") {
		t.Errorf("Quiesce of a process without the database = %v", err)
	}
	if err := n.Check(t.Context()); err == nil {
		t.Error("Check does not notice it")
	}

	// This process has it open now.
	lock, err := os.Open(filepath.Join(db.Path, "full/parachains/db/LOCK"))
	check(t, err)
	defer lock.Close()
	n = &node.Signal{PIDFile: startHolder(t, lock), Database: db}
	check(t, n.Check(t.Context()))
	check(t, n.Quiesce(t.Context()))
	check(t, n.Resume(t.Context()))
}

// startHolder starts a process that inherits an open file.
func startHolder(t *testing.T, f *os.File) (pidFile string) {
	t.Helper()
	pidFile = filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{f}
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	check(t, os.WriteFile(pidFile, strconv.AppendInt(nil, int64(cmd.Process.Pid), 10), 0o600))
	return pidFile
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
