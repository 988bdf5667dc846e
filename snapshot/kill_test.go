package snapshot_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
	"github.com/qsync/qsync/snapshot/node"
)

// TestKilledInThePause kills a run that holds a node, and lets the next one
// find the node stopped.
func TestKilledInThePause(t *testing.T) {
	if dir := os.Getenv("QSYNC_TEST_HANG"); dir != "" {
		o := options(t, filepath.Join(dir, "db"), &memory{}, &node.Signal{PIDFile: filepath.Join(dir, "pid")})
		o.StateFile = filepath.Join(dir, "state")
		o.Forker = &stage{Forker: o.Forker, cut: func() {
			must(t, os.WriteFile(filepath.Join(dir, "held"), nil, 0o600))
			time.Sleep(time.Hour)
		}}
		_, err := snapshot.Run(t.Context(), o)
		t.Fatal("the run goes on: ", err)
	}
	dir := filepath.Dir(rocks(t))
	live := exec.Command("sleep", "600")
	must(t, live.Start())
	defer func() {
		_ = live.Process.Kill()
		_ = live.Wait()
	}()
	n := &node.Signal{PIDFile: filepath.Join(dir, "pid")}
	must(t, os.WriteFile(n.PIDFile, strconv.AppendInt(nil, int64(live.Process.Pid), 10), 0o600))

	run := exec.Command(os.Args[0], "-test.run=^TestKilledInThePause$")
	run.Env = append(os.Environ(), "QSYNC_TEST_HANG="+dir, "TMPDIR="+dir) // which it cannot remove itself
	must(t, run.Start())
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "held")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the run does not come to its pause")
		}
	}
	must(t, run.Process.Kill())
	_ = run.Wait()
	if s := status(t, live.Process.Pid); !strings.Contains(s, "T (stopped)") {
		t.Fatalf("the killed run does not hold the node: %s", s)
	}

	o := options(t, filepath.Join(dir, "db"), &memory{}, n)
	o.StateFile = filepath.Join(dir, "state")
	must(t, snapshot.Recover(t.Context(), n, o.Forker, o.StateFile))
	if s := status(t, live.Process.Pid); strings.Contains(s, "stopped") {
		t.Errorf("the node still stands still: %s", s)
	}
	gone(t, fork.Path(o.Database))
	gone(t, o.StateFile)
	_, err := snapshot.Run(t.Context(), o)
	must(t, err)
}

// status is the line of the kernel about the state of a process.
func status(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	must(t, err)
	_, rest, _ := strings.Cut(string(b), "State:")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}
