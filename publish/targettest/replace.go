package targettest

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/qsync/qsync/publish"
)

// rot makes an object one of the same size and other content, as a disk does, or
// somebody else.
func rot(t *testing.T, target publish.Target, key string, body []byte) {
	t.Helper()
	_, tag, err := target.Load(t.Context(), key)
	if err != nil && !errors.Is(err, publish.ErrNotFound) {
		t.Fatal(err)
	}
	if err := target.Swap(t.Context(), key, tag, body); err != nil {
		t.Fatal(err)
	}
}

// testReplace: what Put keeps is replaced, and so is what has another size, or is not
// there.
func testReplace(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	key, body := segment(1, 1000)
	flipped := slices.Clone(body)
	flipped[500] ^= 1
	for name, before := range map[string][]byte{"rotten": flipped, "short": body[:999], "long": append(slices.Clone(body), 'x'), "whole": body, "gone": nil} {
		if err := target.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if before != nil {
			rot(t, target, key, before)
		}
		mine := slices.Clone(body)
		if err := target.Replace(t.Context(), key, mine); err != nil {
			t.Fatalf("replace one that is %s: %v", name, err)
		}
		clear(mine) // the target must not look at it any more
		wantContent(t, target, key, body)
		if o := mustStat(t, target, key); o.Size != 1000 {
			t.Errorf("in place of one that is %s: %d bytes, want 1000", name, o.Size)
		}
	}
}

// testReplaceConcurrently: nobody finds a part, or nothing, while an object is replaced.
func testReplaceConcurrently(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	key, body := segment(1, 300_000)
	rotten := slices.Clone(body)
	rotten[200_000] ^= 1
	rot(t, target, key, rotten)
	stop := readMeanwhile(t, target, key, 4, body, rotten)
	var writers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			for range 10 {
				if err := target.Replace(t.Context(), key, body); err != nil {
					t.Errorf("replace: %v", err)
				}
			}
		})
	}
	writers.Wait()
	stop()
	wantContent(t, target, key, body)
}

// readMeanwhile has so many readers see that an object is the one or the other, of the same
// size, until they are stopped: never a part, and never nothing.
func readMeanwhile(t *testing.T, target publish.Target, key string, readers int, before, after []byte) (stop func()) {
	var all sync.WaitGroup
	done := make(chan struct{})
	for range readers {
		all.Go(func() {
			for {
				got, err := target.Read(t.Context(), key, 0, int64(len(before)))
				if err != nil || !bytes.Equal(got, before) && !bytes.Equal(got, after) {
					t.Errorf("while it is replaced: %d bytes, neither the old nor the new ones, %v", len(got), err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	return func() {
		close(done)
		all.Wait()
	}
}
