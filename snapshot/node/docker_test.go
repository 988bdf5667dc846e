package node_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/node"
	"github.com/qsync/qsync/snapshot/node/nodetest"
)

func TestDocker(t *testing.T) {
	for _, mode := range []node.Mode{"", node.Freeze, node.Stop} {
		t.Run("mode "+string(mode), func(t *testing.T) {
			nodetest.Run(t, func(t *testing.T) *nodetest.Subject {
				e := startDocker(t)
				s := e.Subject(func() nodetest.Node { return &node.Docker{Container: "node", Socket: e.Socket, Mode: mode} })
				s.Remove = e.remove
				return s
			})
		})
	}
}

// In mode freeze a container without a process has nothing to resume.
func TestDockerHasExited(t *testing.T) {
	e := startDocker(t)
	n := &node.Docker{Container: "node", Socket: e.Socket}
	check(t, n.Quiesce(t.Context()))
	e.Kill()
	if err := n.Resume(t.Context()); !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Resume = %v, want ErrNodeGone", err)
	}
	err := n.Quiesce(t.Context())
	if !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Quiesce = %v, want ErrNodeGone", err)
	}
	mustSay(t, err, "it is exited", "docker start node")
	mustSay(t, n.Check(t.Context()), "it is exited", "docker start node")
}

// Who stops a container before us does not want it started by us.
func TestDockerLeavesAStoppedContainer(t *testing.T) {
	e := startDocker(t)
	e.Kill()
	n := &node.Docker{Container: "node", Socket: e.Socket, Mode: node.Stop}
	mustSay(t, n.Quiesce(t.Context()), "it is exited", "docker start node")
	check(t, n.Resume(t.Context()))
	if e.Runs() {
		t.Error("Resume has started a container that Quiesce found stopped")
	}
	// Another program cannot know.
	check(t, (&node.Docker{Container: "node", Socket: e.Socket, Mode: node.Stop}).Resume(t.Context()))
	if !e.Runs() {
		t.Error("Resume did not start the container")
	}
}

// whileStopping quiesces the container, and ends the pause when it was told to stop.
func (e *dockerEngine) whileStopping(t *testing.T, n *node.Docker) error {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	quiesced := make(chan error, 1)
	go func() { quiesced <- n.Quiesce(ctx) }()
	eventually(t, "the container is told to stop", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.events) > 0
	})
	cancel(snapshot.ErrPause)
	return <-quiesced
}

// The agent dies when it has told the container to stop, and the guard resumes
// it while it is still running.
func TestDockerUndoesAStopUnderWay(t *testing.T) {
	e := startDocker(t)
	e.set(func() { e.stopAfter = 2 * time.Second })
	err := e.whileStopping(t, &node.Docker{Container: "node", Socket: e.Socket, Mode: node.Stop})
	if !errors.Is(err, snapshot.ErrPause) {
		t.Errorf("Quiesce = %v", err)
	}
	if !e.Runs() {
		t.Fatal("the container has stopped already, so that this test is about nothing")
	}
	before := e.PID()
	check(t, (&node.Docker{Container: "node", Socket: e.Socket, Mode: node.Stop}).Resume(t.Context()))
	if !e.Runs() || e.PID() == before {
		t.Error("Resume did not see that the container was about to stop")
	}
	mustRun(t, e.Program)
}

// A signal that has another meaning does not hold Resume up.
func TestDockerKnowsOtherSignals(t *testing.T) {
	e := startDocker(t)
	e.set(func() { e.happens("kill", "1") })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	check(t, (&node.Docker{Container: "node", Socket: e.Socket, Mode: node.Stop}).Resume(ctx))
}

func TestDockerThatDoesNotHold(t *testing.T) {
	t.Run("killed", func(t *testing.T) {
		e := startDocker(t)
		e.set(func() { e.deaf, e.grace = true, 0 })
		n := &node.Docker{Container: "node", Socket: e.Socket, Mode: node.Stop}
		mustSay(t, n.Quiesce(t.Context()), "did not end within 0s and was killed", "longer stop timeout")
		check(t, n.Resume(t.Context()))
		mustRun(t, e.Program)
	})
	t.Run("too slow", func(t *testing.T) {
		e := startDocker(t)
		e.set(func() { e.deaf, e.grace = true, 1 })
		n := &node.Docker{Container: "node", Socket: e.Socket, Mode: node.Stop}
		err := e.whileStopping(t, n)
		if !errors.Is(err, snapshot.ErrPause) {
			t.Errorf("Quiesce = %v", err)
		}
		mustSay(t, err, "stop container node", "raise max_pause")
		check(t, n.Resume(t.Context()))
		mustRun(t, e.Program)
	})
	t.Run("removed when it stops", func(t *testing.T) {
		e := startDocker(t)
		e.set(func() { e.autoRemove = true })
		n := &node.Docker{Container: "node", Socket: e.Socket, Mode: node.Stop}
		mustSay(t, n.Check(t.Context()), "removed when it stops", "without --rm")
		mustSay(t, n.Quiesce(t.Context()), "removed when it stops", "without --rm")
		mustRun(t, e.Program)
		check(t, (&node.Docker{Container: "node", Socket: e.Socket}).Check(t.Context()))
	})
	t.Run("database in use", func(t *testing.T) {
		e := startDocker(t)
		db := rocksdb(t)
		n := &node.Docker{Container: "node", Socket: e.Socket, Mode: node.Stop, Database: db}
		check(t, n.Quiesce(t.Context()))
		check(t, n.Resume(t.Context()))
		defer holdLock(t, filepath.Join(db.Path, "full/LOCK"))()
		mustSay(t, n.Quiesce(t.Context()), "a process has the database open", "")
		check(t, n.Resume(t.Context()))
	})
	t.Run("only says so", func(t *testing.T) {
		e := startDocker(t)
		e.set(func() { e.lies = true })
		n := &node.Docker{Container: "node", Socket: e.Socket}
		mustSay(t, n.Quiesce(t.Context()), "pause container node, which is running", "mode: stop")
	})
	t.Run("paused by somebody", func(t *testing.T) {
		e := startDocker(t)
		n := &node.Docker{Container: "node", Socket: e.Socket}
		check(t, n.Quiesce(t.Context()))
		check(t, n.Quiesce(t.Context()))
		mustSay(t, n.Check(t.Context()), "is paused", "docker unpause node")
	})
}

// What the engine says ends up in the error, and what it is asked is as its
// reference has it.
func TestDockerOnTheWire(t *testing.T) {
	e := startDocker(t)
	n := &node.Docker{Container: "no such/../one", Socket: e.Socket}
	mustSay(t, n.Quiesce(t.Context()), "404: No such container: no such/../one", "")
	e.set(func() { e.requests = nil })
	n = &node.Docker{Container: containerID, Socket: e.Socket, Mode: node.Stop}
	check(t, n.Quiesce(t.Context()))
	check(t, n.Resume(t.Context()))
	want := []string{
		"GET /_ping", "GET /v1.47/containers/ID/json", "POST /v1.47/containers/ID/stop", "GET /v1.47/containers/ID/json",
		"GET /_ping", "POST /v1.47/containers/ID/start",
	}
	for i, r := range e.requests {
		e.requests[i] = strings.ReplaceAll(r, containerID, "ID")
	}
	if !slices.Equal(e.requests, want) {
		t.Errorf("the engine was asked %q", e.requests)
	}
}

func TestDockerWithoutEngine(t *testing.T) {
	dir := t.TempDir()
	n := &node.Docker{Container: "node", Socket: filepath.Join(dir, "none")}
	mustSay(t, n.Quiesce(t.Context()), "connect to the engine at "+n.Socket, "is the engine running")
	// One that accepts and never answers.
	n = &node.Docker{Container: "node", Socket: filepath.Join(dir, "mute"), Timeout: 50 * time.Millisecond}
	listener, err := net.Listen("unix", n.Socket)
	check(t, err)
	defer listener.Close()
	mustSay(t, n.Quiesce(t.Context()), "it did not stand still within 50ms", "")
	mustSay(t, n.Resume(t.Context()), "it did not go on within 50ms", "")
	mustSay(t, n.Check(t.Context()), "the engine did not answer within 50ms", "")
}

// holdLock locks a file as RocksDB does, until the function that it returns is called.
func holdLock(t *testing.T, path string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	check(t, lockExclusively(f))
	return func() { check(t, f.Close()) }
}
