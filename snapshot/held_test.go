package snapshot_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/snapshot"
)

// TestMaxPause has a step of the pause hang for an hour without a look at its
// context.
func TestMaxPause(t *testing.T) {
	const most = 30 * time.Second
	hang := func() { time.Sleep(time.Hour) }
	for name, set := range map[string]func(*stage, *stoppable){
		"cut": func(s *stage, _ *stoppable) { s.cut = hang },
		"quiesce": func(_ *stage, n *stoppable) {
			n.onQuiesce = func(context.Context) error { n.mu.Unlock(); hang(); n.mu.Lock(); n.held = true; return nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, rocks(t), &memory{}, nil)
			synctest.Test(t, func(t *testing.T) {
				node := &stoppable{}
				s := &stage{Forker: o.Forker}
				o.Node, o.Forker, o.MaxPause = node, s, most
				set(s, node)
				start := time.Now()
				var resumed time.Duration // when first
				node.onResume = func(context.Context) error {
					if resumed == 0 {
						resumed = time.Since(start)
					}
					return nil
				}
				_, err := snapshot.Run(t.Context(), o)
				if !errors.Is(err, snapshot.ErrPause) {
					t.Errorf("error is %v", err)
				}
				if resumed != most {
					t.Errorf("the node went on after %s", resumed)
				}
				mustBeAsBefore(t, o, node)
			})
		})
	}
}

// watching is a guard that notes when it watches.
type watching struct {
	limit time.Duration
	now   bool
	fail  bool
	held  bool // as it was told in the end
}

func (w *watching) Watch(_ context.Context, limit time.Duration) (func(bool) error, error) {
	if w.fail {
		return nil, errInjected
	}
	w.limit, w.now = limit, true
	return func(held bool) error { w.now, w.held = false, held; return nil }, nil
}

func TestGuardWatchesThePause(t *testing.T) {
	guard, node := &watching{}, &stoppable{}
	o := options(t, rocks(t), &memory{}, node)
	o.Guard, o.MaxPause = guard, time.Minute
	look := func(context.Context) error {
		if !guard.now {
			t.Error("the node is held and no guard watches")
		}
		return nil
	}
	node.onQuiesce, node.onResume = look, look
	_, err := snapshot.Run(t.Context(), o)
	must(t, err)
	if guard.now || guard.limit <= o.MaxPause {
		t.Errorf("the guard still watches: %t; its limit was %s", guard.now, guard.limit)
	}
}

// Without its guard a node is not touched.
func TestGuardFails(t *testing.T) {
	node := &stoppable{}
	o := options(t, rocks(t), &memory{}, node)
	o.Guard = &watching{fail: true}
	if _, err := snapshot.Run(t.Context(), o); !errors.Is(err, errInjected) || node.quiesced != 0 {
		t.Errorf("quiesced %d times, error is %v", node.quiesced, err)
	}
	mustBeAsBefore(t, o, node)
}

// listed are the files of a directory by path, relative to it.
func listed(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			paths = append(paths, rel)
		}
		return err
	}))
	slices.Sort(paths)
	return paths
}

// TestBootCheck wants each version whole before it is sealed, files that are
// known unchanged among them, which are still not read.
func TestBootCheck(t *testing.T) {
	dir := rocks(t)
	settle(t, dir)
	node := &stoppable{}
	o := options(t, dir, &memory{}, node)
	o.Forker = forker(t, "copy")
	var booted []string
	o.BootCheck = func(_ context.Context, dir string) error {
		booted = listed(t, dir)
		return os.Remove(filepath.Join(dir, "full/CURRENT")) // it is a private copy
	}
	first, err := snapshot.Run(t.Context(), o)
	must(t, err)
	whole := booted
	if len(whole) != len(first.Index.Files) {
		t.Errorf("the check saw %d files of %d", len(whole), len(first.Index.Files))
	}
	o.Previous, booted = previous(t, first), nil
	second, err := snapshot.Run(t.Context(), o)
	must(t, err)
	if diff := cmp.Diff(whole, booted); diff != "" {
		t.Errorf("the second check saw other files:\n%s", diff)
	}
	if second.ReadBytes >= first.ReadBytes/2 || len(second.Stamps) != len(first.Stamps) {
		t.Errorf("the second run read %d of %d bytes; %d stamps after %d", second.ReadBytes, first.ReadBytes, len(second.Stamps), len(first.Stamps))
	}

	sink := &memory{}
	o.Sink, o.Previous = sink, nil
	o.BootCheck = func(context.Context, string) error { return errInjected }
	if _, err := snapshot.Run(t.Context(), o); !errors.Is(err, errInjected) || sink.puts != 0 {
		t.Errorf("%d segments were put, error is %v", sink.puts, err)
	}
	mustBeAsBefore(t, o, node)
}
