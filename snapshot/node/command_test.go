package node_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot/node"
)

func TestCommandCheck(t *testing.T) {
	for _, n := range []*node.Command{
		{QuiesceArgv: []string{"true"}, ResumeArgv: []string{"no-such-program"}},
		{QuiesceArgv: []string{"/no/such/program"}, ResumeArgv: []string{"true"}},
	} {
		mustSay(t, n.Check(t.Context()), "look for the program of", "")
	}
	n := &node.Command{QuiesceArgv: []string{"false"}, ResumeArgv: []string{"false"}}
	check(t, n.Check(t.Context()))
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

// TestPauseOutlivesItsAgent has an agent killed while its command is about to stop the
// node: whoever resumes the node must not do so before the command has.
func TestPauseOutlivesItsAgent(t *testing.T) {
	dir := os.Getenv("QSYNC_TEST_PAUSE")
	agent := dir != ""
	if !agent {
		dir = t.TempDir()
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	n := &node.Command{
		QuiesceArgv: []string{"sh", "-c", "touch " + at("begun") + "; until test -e " + at("go") + "; do sleep 0.01; done; touch " + at("held")},
		ResumeArgv:  []string{"rm", "-f", at("held")},
		Lock:        at("lock"),
	}
	if agent {
		t.Fatal("the command has ended: ", n.Quiesce(t.Context()))
	}
	killed := exec.Command(os.Args[0], "-test.run=^TestPauseOutlivesItsAgent$")
	killed.Env = append(os.Environ(), "QSYNC_TEST_PAUSE="+dir)
	check(t, killed.Start())
	for end := time.Now().Add(20 * time.Second); !exists(at("begun")); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the command does not begin")
		}
	}
	check(t, killed.Process.Kill())
	_ = killed.Wait()
	resumed := make(chan error, 1)
	go func() { resumed <- n.Resume(t.Context()) }()
	select {
	case err := <-resumed:
		t.Errorf("Resume did not wait for the command: %v", err)
		resumed <- err
	case <-time.After(100 * time.Millisecond): // for it must not happen at all
	}
	check(t, os.WriteFile(at("go"), nil, 0o600))
	check(t, <-resumed)
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if exists(at("held")) {
			t.Fatal("the node is held, and nobody is left to resume it")
		}
	}
	n.QuiesceArgv = []string{"sh", "-c", "sleep 60 & echo $! >" + at("pid")}
	check(t, n.Quiesce(t.Context()))
	start := time.Now()
	check(t, n.Resume(t.Context()))
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("Resume waits for what the command has left in the background: %s", took)
	}
	b, err := os.ReadFile(at("pid"))
	check(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	check(t, err)
	check(t, syscall.Kill(pid, syscall.SIGKILL))
}

// One that hangs keeps nobody from resuming the node.
func TestPauseHangs(t *testing.T) {
	dir := t.TempDir()
	n := &node.Command{ResumeArgv: []string{"touch", filepath.Join(dir, "resumed")}, Lock: filepath.Join(dir, "lock")}
	lock, err := os.Create(n.Lock)
	check(t, err)
	defer lock.Close()
	check(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	check(t, n.Resume(ctx))
	if !exists(filepath.Join(dir, "resumed")) {
		t.Error("the node was not resumed")
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
