package node_test

import (
	"os"
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
