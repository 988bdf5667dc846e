package snapshot_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
)

// mustBeAsBefore checks that a failed run left nothing: the node goes on, the
// fork and the record of the run are gone.
func mustBeAsBefore(t *testing.T, o snapshot.Options, node *stoppable) {
	t.Helper()
	node.mu.Lock()
	defer node.mu.Unlock()
	if node.held {
		t.Error("the node is held")
	}
	gone(t, fork.Path(o.Database))
	gone(t, o.StateFile)
}

func TestRunFailsAtEachPut(t *testing.T) {
	dir := rocks(t)
	for i := 1; ; i++ {
		sink, node := &memory{failAt: i}, &stoppable{}
		o := options(t, dir, sink, node)
		_, err := snapshot.Run(t.Context(), o)
		mustBeAsBefore(t, o, node)
		if err == nil {
			if i < 5 {
				t.Errorf("put %d failed and the run did not", i)
			}
			return
		}
		if !errors.Is(err, errInjected) || !strings.Contains(err.Error(), "put segment") {
			t.Fatalf("put %d failed: %v", i, err)
		}
	}
}

// stage is a forker that lets a test act in each step of a run.
type stage struct {
	snapshot.Forker
	begin, cut, open, release func()
}

func (s *stage) Begin(ctx context.Context, db *snapshot.Tree) (snapshot.Fork, error) {
	call(s.begin)
	fork, err := s.Forker.Begin(ctx, db)
	return &stagedFork{fork, s}, err
}

type stagedFork struct {
	snapshot.Fork
	stage *stage
}

func (f *stagedFork) Cut(ctx context.Context, db *snapshot.Tree) error {
	call(f.stage.cut)
	return f.Fork.Cut(ctx, db)
}

func (f *stagedFork) Open(path string) (*os.File, error) {
	call(f.stage.open)
	return f.Fork.Open(path)
}

func (f *stagedFork) Release() error {
	call(f.stage.release)
	return f.Fork.Release()
}

func call(f func()) {
	if f != nil {
		f()
	}
}

func TestRunCancelledInEachPhase(t *testing.T) {
	for _, phase := range []string{"before", "begin", "quiesce", "after quiesce", "cut", "resume", "open", "put"} {
		for _, name := range []string{"hardlink", "copy"} {
			t.Run(phase+" "+name, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				sink, node := &memory{}, &stoppable{}
				s := &stage{Forker: forker(t, name)}
				var resumedUnder error
				node.onResume = func(ctx context.Context) error {
					resumedUnder = ctx.Err()
					if phase == "resume" {
						cancel()
					}
					return nil
				}
				switch phase {
				case "before":
					cancel()
				case "begin":
					s.begin = cancel
				case "quiesce":
					node.onQuiesce = func(ctx context.Context) error { cancel(); return ctx.Err() }
				case "after quiesce":
					node.onQuiesce = func(context.Context) error { cancel(); return nil }
				case "cut":
					s.cut = cancel
				case "open":
					s.open = cancel
				case "put":
					sink.before = cancel
				}
				o := options(t, rocks(t), sink, node)
				o.Forker = s
				if _, err := snapshot.Run(ctx, o); !errors.Is(err, context.Canceled) {
					t.Errorf("Run = %v", err)
				}
				mustBeAsBefore(t, o, node)
				if resumedUnder != nil {
					t.Errorf("Resume was called on a context that is done: %v", resumedUnder)
				}
			})
		}
	}
}

func TestNodeIsResumedAfterAPanic(t *testing.T) {
	node := &stoppable{}
	o := options(t, rocks(t), &memory{}, node)
	o.Forker = &stage{Forker: forker(t, "hardlink"), cut: func() { panic("in the pause") }}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = snapshot.Run(t.Context(), o)
	}()
	mustBeAsBefore(t, o, node)
}

func TestQuiesceFails(t *testing.T) {
	node := &stoppable{onQuiesce: func(context.Context) error { return errInjected }}
	o := options(t, rocks(t), &memory{}, node)
	if _, err := snapshot.Run(t.Context(), o); !errors.Is(err, errInjected) || !strings.Contains(err.Error(), "quiesce a test's node") {
		t.Errorf("Run = %v", err)
	}
	if node.resumed != 1 {
		t.Errorf("the node was resumed %d times, want once: nobody knows in which state it is", node.resumed)
	}
	mustBeAsBefore(t, o, node)
}

// A node that cannot be resumed stays on record until it can.
func TestResumeFails(t *testing.T) {
	dir := rocks(t)
	sink := &memory{}
	node := &stoppable{onResume: func(context.Context) error { return errInjected }}
	o := options(t, dir, sink, node)
	guard := &watching{}
	o.Guard = guard
	if _, err := snapshot.Run(t.Context(), o); !errors.Is(err, errInjected) || !strings.Contains(err.Error(), "resume a test's node") {
		t.Errorf("Run = %v", err)
	}
	if guard.now || !guard.held {
		t.Error("the guard was let go, and was not told that the node is still held")
	}
	if sink.puts > 0 {
		t.Error("a snapshot was sealed while the node stands still")
	}
	gone(t, fork.Path(dir))
	if err := snapshot.Recover(t.Context(), node, o.Forker, o.StateFile); !errors.Is(err, errInjected) {
		t.Errorf("Recover = %v", err)
	}
	if _, err := snapshot.Run(t.Context(), o); !errors.Is(err, errInjected) || node.quiesced != 1 {
		t.Errorf("a second run = %v, with %d quiesces", err, node.quiesced)
	}
	node.onResume = nil
	must(t, snapshot.Recover(t.Context(), node, o.Forker, o.StateFile))
	mustBeAsBefore(t, o, node)
	resumed := node.resumed
	must(t, snapshot.Recover(t.Context(), node, o.Forker, o.StateFile))
	if node.resumed != resumed {
		t.Error("a second Recover resumed the node again")
	}
}

// A fork that cannot be removed is tried again and again. The node has been resumed
// by then, and whoever stops it afterwards means it.
func TestNodeIsResumedOnce(t *testing.T) {
	stays := func(o *snapshot.Options) { o.Forker = &staying{o.Forker} }
	t.Run("after a failed run", func(t *testing.T) {
		node := &stoppable{}
		o := options(t, rocks(t), &memory{}, node)
		stays(&o)
		node.onQuiesce = func(context.Context) error { return errInjected }
		if _, err := snapshot.Run(t.Context(), o); !errors.Is(err, errStays) {
			t.Fatalf("Run = %v", err)
		}
		mustNotResume(t, o, node)
	})
	t.Run("after a killed one", func(t *testing.T) {
		dir := rocks(t)
		node := &stoppable{held: true}
		o := options(t, dir, &memory{}, node)
		stays(&o)
		must(t, os.WriteFile(o.StateFile, []byte(`{"database":"`+dir+`","quiesced":true}`), 0o600))
		if err := snapshot.Recover(t.Context(), node, o.Forker, o.StateFile); !errors.Is(err, errStays) || node.held {
			t.Fatalf("the node is held: %t, Recover = %v", node.held, err)
		}
		mustNotResume(t, o, node)
	})
}

func mustNotResume(t *testing.T, o snapshot.Options, node *stoppable) {
	t.Helper()
	before := node.resumed
	if err := snapshot.Recover(t.Context(), node, o.Forker, o.StateFile); !errors.Is(err, errStays) {
		t.Errorf("Recover = %v", err)
	}
	if node.resumed != before {
		t.Error("a node that goes on already was resumed again")
	}
}

var errStays = errors.New("the fork stays")

// staying is a forker whose forks cannot be removed.
type staying struct{ snapshot.Forker }

func (s *staying) Begin(ctx context.Context, db *snapshot.Tree) (snapshot.Fork, error) {
	fork, err := s.Forker.Begin(ctx, db)
	return stayingFork{fork}, err
}

func (*staying) Clean(context.Context, string) error { return errStays }

type stayingFork struct{ snapshot.Fork }

func (f stayingFork) Release() error { return errors.Join(f.Fork.Release(), errStays) }

func TestTheNodeIsGone(t *testing.T) {
	node := &stoppable{onResume: func(context.Context) error { return snapshot.ErrNodeGone }}
	o := options(t, rocks(t), &memory{}, node)
	if _, err := snapshot.Run(t.Context(), o); !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Run = %v", err)
	}
	mustBeAsBefore(t, o, node) // nothing is left to recover
}

// The record must be durable before the node is held, and say so.
func TestTheRecordComesFirst(t *testing.T) {
	dir := rocks(t)
	node := &stoppable{}
	o := options(t, dir, &memory{}, node)
	var inPause, afterwards string
	node.onQuiesce = func(context.Context) error {
		b, err := os.ReadFile(o.StateFile)
		inPause = string(b)
		return err
	}
	o.Forker = &stage{Forker: o.Forker, open: func() {
		b, _ := os.ReadFile(o.StateFile)
		afterwards = string(b)
	}}
	_, err := snapshot.Run(t.Context(), o)
	must(t, err)
	if !strings.Contains(inPause, `"quiesced":true`) || !strings.Contains(afterwards, `"quiesced":false`) {
		t.Errorf("in the pause the record said %s, afterwards %s", inPause, afterwards)
	}
	mustBeAsBefore(t, o, node)

	o.StateFile = filepath.Join(t.TempDir(), "missing", "state")
	node.quiesced = 0
	if _, err := snapshot.Run(t.Context(), o); err == nil || node.quiesced > 0 {
		t.Errorf("without a record the node was quiesced %d times: %v", node.quiesced, err)
	}
}

// What a killed run left is undone by the next one: the node first.
func TestRecoverAfterAKilledRun(t *testing.T) {
	for _, quiesced := range []string{"true", "false"} {
		dir := rocks(t)
		node := &stoppable{held: true}
		o := options(t, dir, &memory{}, node)
		must(t, os.WriteFile(o.StateFile, []byte(`{"database":"`+dir+`","node":"x","quiesced":`+quiesced+`,"since":"2026-11-22T04:00:00Z"}`), 0o600))
		write(t, fork.Path(dir), "full/000007.sst", nil)
		must(t, snapshot.Recover(t.Context(), node, o.Forker, o.StateFile))
		if node.held == (quiesced == "true") {
			t.Errorf("quiesced %s: the node is held: %t", quiesced, node.held)
		}
		gone(t, fork.Path(dir))
		gone(t, o.StateFile)
	}
}

// A file that is cut back after the cut must be an error: its missing end would
// look like a hole.
func TestFileIsCutBack(t *testing.T) {
	const size = 17 << 20
	for _, test := range []struct {
		at    int64
		holes bool
	}{{0, false}, {1 << 20, false}, {size - 1, false}, {1 << 20, true}, {size - 1, true}} {
		dir := rocks(t)
		if test.holes {
			must(t, os.Truncate(filepath.Join(dir, "full/000009.sst"), 4096))
			must(t, os.Truncate(filepath.Join(dir, "full/000009.sst"), size))
		}
		node := &stoppable{}
		o := options(t, dir, &memory{}, node)
		first := true
		o.Forker = &stage{Forker: o.Forker, open: func() {
			if first {
				must(t, os.Truncate(filepath.Join(dir, "full/000009.sst"), test.at))
			}
			first = false
		}}
		o.Workers = 1
		_, err := snapshot.Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "read full/000009.sst at") {
			t.Errorf("cut back to %d (with holes: %t): Run = %v", test.at, test.holes, err)
		}
		mustBeAsBefore(t, o, node)
	}
}

func TestFileVanishesFromTheFork(t *testing.T) {
	dir := rocks(t)
	node := &stoppable{}
	o := options(t, dir, &memory{}, node)
	o.Forker = &stage{Forker: o.Forker, open: func() {
		_ = os.Remove(filepath.Join(fork.Path(dir), "files", "full/000011.sst"))
	}}
	if _, err := snapshot.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "open full/000011.sst in the fork") {
		t.Errorf("Run = %v", err)
	}
	mustBeAsBefore(t, o, node)
}

func TestPauseIsMeasured(t *testing.T) {
	node := &stoppable{onQuiesce: func(context.Context) error { time.Sleep(30 * time.Millisecond); return nil }}
	sink := &memory{before: func() { time.Sleep(10 * time.Millisecond) }}
	result, err := snapshot.Run(t.Context(), options(t, rocks(t), sink, node))
	must(t, err)
	if result.Pause < 30*time.Millisecond || result.Pause > 20*time.Second {
		t.Errorf("pause of %s", result.Pause)
	}
	if since := time.Since(result.Cut); since < 10*time.Millisecond || since > time.Minute || result.Cut.Location() != time.UTC {
		t.Errorf("cut at %s, %s ago", result.Cut, since)
	}
}
