package guard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/guard"
	"github.com/qsync/qsync/snapshot/node"
)

// The test program stands for both programs: the agent that holds a node, and
// the guard that it starts.
func TestMain(m *testing.M) {
	switch os.Getenv("QSYNC_TEST_GUARD") {
	case "":
		m.Run()
	case "agent":
		if err := hold(os.Getenv("QSYNC_TEST_DIR")); err != nil {
			panic(err)
		}
	case "guard":
		err := guard.Watch(context.Background(), os.Stdin, os.Stdout, open, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		if err != nil {
			panic(err)
		}
	}
}

func open(told json.RawMessage) (snapshot.Node, error) {
	var pidFile string
	err := json.Unmarshal(told, &pidFile)
	return &node.Signal{PIDFile: pidFile}, err
}

func process(pidFile string) *guard.Process {
	told := strconv.AppendQuote(nil, pidFile)
	return &guard.Process{Path: os.Args[0], Args: []string{os.Args[0]}, Env: append(os.Environ(), "QSYNC_TEST_GUARD=guard"), Node: told}
}

// hold stops the node under a guard, says so, and never comes back.
func hold(dir string) error {
	pidFile := filepath.Join(dir, "pid")
	limit, err := time.ParseDuration(os.Getenv("QSYNC_TEST_LIMIT"))
	if err != nil {
		return err
	}
	if _, err := process(pidFile).Watch(context.Background(), limit); err != nil {
		return err
	}
	if err := (&node.Signal{PIDFile: pidFile}).Quiesce(context.Background()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "held"), nil, 0o600); err != nil {
		return err
	}
	time.Sleep(time.Hour)
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startNode starts a process that stands for a node.
func startNode(t *testing.T) (dir string, pid int) {
	t.Helper()
	dir = t.TempDir()
	live := exec.Command("sleep", "600")
	must(t, live.Start())
	t.Cleanup(func() {
		_ = live.Process.Kill()
		_ = live.Wait()
	})
	must(t, os.WriteFile(filepath.Join(dir, "pid"), strconv.AppendInt(nil, int64(live.Process.Pid), 10), 0o600))
	return dir, live.Process.Pid
}

func startAgent(t *testing.T, dir string, limit time.Duration) *exec.Cmd {
	t.Helper()
	agent := exec.Command(os.Args[0])
	agent.Env = append(os.Environ(), "QSYNC_TEST_GUARD=agent", "QSYNC_TEST_DIR="+dir, "QSYNC_TEST_LIMIT="+limit.String())
	must(t, agent.Start())
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	})
	eventually(t, "the agent holds the node", func() bool {
		_, err := os.Stat(filepath.Join(dir, "held"))
		return err == nil
	})
	return agent
}

func stopped(t *testing.T, pid int) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	must(t, err)
	return strings.Contains(string(b), "T (stopped)")
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 20 s it did not come about that %s", what)
		}
	}
}

// The reach of how soon a node goes on after its agent was killed.
const soon = 2 * time.Second

func TestAgentKilled(t *testing.T) {
	dir, pid := startNode(t)
	agent := startAgent(t, dir, 0)
	if !stopped(t, pid) {
		t.Fatal("the agent does not hold the node")
	}
	must(t, agent.Process.Kill())
	start := time.Now()
	eventually(t, "the node goes on", func() bool { return !stopped(t, pid) })
	if took := time.Since(start); took > soon {
		t.Errorf("the node goes on after %s", took)
	}
}

func TestLimit(t *testing.T) {
	dir, pid := startNode(t)
	startAgent(t, dir, 300*time.Millisecond)
	eventually(t, "the node goes on although its agent lives", func() bool { return !stopped(t, pid) })
}

// A node that its agent has let go is not the guard's any more: somebody may
// have stopped it since.
func TestReleased(t *testing.T) {
	dir, pid := startNode(t)
	stop, err := process(filepath.Join(dir, "pid")).Watch(t.Context(), 0)
	must(t, err)
	must(t, (&node.Signal{PIDFile: filepath.Join(dir, "pid")}).Quiesce(t.Context()))
	must(t, stop(false))
	if !stopped(t, pid) {
		t.Error("a guard that was told to end has resumed the node")
	}
}

func TestGuardThatCannotStart(t *testing.T) {
	for name, p := range map[string]*guard.Process{
		"no program":        {Path: "/nonexistent", Args: []string{"guard"}},
		"ends at once":      {Path: "/bin/true", Args: []string{"true"}},
		"says other things": {Path: "/bin/echo", Args: []string{"echo", "hello"}},
		"bad order":         {Path: os.Args[0], Args: os.Args[:1], Env: append(os.Environ(), "QSYNC_TEST_GUARD=guard"), Node: json.RawMessage(`7`)},
	} {
		if stop, err := p.Watch(t.Context(), 0); err == nil {
			t.Errorf("%s: there is a guard, which ends with %v", name, stop(false))
		}
	}
}

// stubborn is a node that goes on at the third try only.
type stubborn struct {
	snapshot.Node
	tries int
}

func (*stubborn) String() string { return "a stubborn node" }

func (s *stubborn) Resume(context.Context) error {
	if s.tries++; s.tries < 3 {
		return errors.New("not now")
	}
	return nil
}

func TestTriesAgain(t *testing.T) {
	n := &stubborn{}
	var out bytes.Buffer
	err := guard.Watch(t.Context(), strings.NewReader(`{"limit":0,"node":null}`+"\n"), &out,
		func(json.RawMessage) (snapshot.Node, error) { return n, nil }, slog.New(slog.DiscardHandler))
	if err != nil || n.tries != 3 || out.String() != "ready\n" {
		t.Errorf("%d tries, says %q, error is %v", n.tries, out.String(), err)
	}
}

// blocking is a node whose Resume takes as long as the test wants.
type blocking struct {
	snapshot.Node
	begun, end chan struct{}
}

func (blocking) String() string { return "a node" }

func (b blocking) Resume(context.Context) error {
	close(b.begun)
	<-b.end
	return nil
}

// An agent that stood still itself, and comes back when its guard is about to resume
// the node, must hear that its cut is not one.
func TestLimitIsTold(t *testing.T) {
	n := blocking{begun: make(chan struct{}), end: make(chan struct{})}
	in, agent := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- guard.Watch(t.Context(), in, io.Discard, func(json.RawMessage) (snapshot.Node, error) { return n, nil }, slog.New(slog.DiscardHandler))
	}()
	_, err := io.WriteString(agent, `{"limit":1000000,"node":null}`+"\n")
	must(t, err)
	<-n.begun
	_, err = io.WriteString(agent, "done\n")
	must(t, err)
	close(n.end)
	if err := <-ended; !errors.Is(err, guard.ErrResumed) {
		t.Errorf("the guard ends with %v", err)
	}
}

// What the agent hung in when the limit passed may hold the node again.
func TestAgentKilledAfterTheLimit(t *testing.T) {
	dir, pid := startNode(t)
	agent := startAgent(t, dir, 300*time.Millisecond)
	eventually(t, "the node goes on although its agent lives", func() bool { return !stopped(t, pid) })
	must(t, (&node.Signal{PIDFile: filepath.Join(dir, "pid")}).Quiesce(t.Context()))
	must(t, agent.Process.Kill())
	eventually(t, "the node goes on", func() bool { return !stopped(t, pid) })
}

// A node that the agent could not resume is the guard's.
func TestAgentIsHelpless(t *testing.T) {
	dir, pid := startNode(t)
	stop, err := process(filepath.Join(dir, "pid")).Watch(t.Context(), 0)
	must(t, err)
	must(t, (&node.Signal{PIDFile: filepath.Join(dir, "pid")}).Quiesce(t.Context()))
	must(t, stop(true))
	eventually(t, "the node goes on", func() bool { return !stopped(t, pid) })
}

// A guard that still tries must not let a node go that the next run holds.
func TestOneGuardAtATime(t *testing.T) {
	dir, _ := startNode(t)
	first, second := process(filepath.Join(dir, "pid")), process(filepath.Join(dir, "pid"))
	first.Lock, second.Lock = filepath.Join(dir, "lock"), filepath.Join(dir, "lock")
	stop, err := first.Watch(t.Context(), 0)
	must(t, err)
	impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := second.Watch(impatient, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("beside the first guard there is a second one, its error is %v", err)
	}
	must(t, stop(false))
	stop, err = second.Watch(t.Context(), 0)
	must(t, err)
	must(t, stop(false))
}
