package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/targettest"
)

// TestTryTargetFaults: whatever fails is noticed, and nothing is left where it can
// be deleted.
func TestTryTargetFaults(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for at := 1; ; at++ {
			base := t.TempDir()
			target, err := dir.New(base)
			if err != nil {
				t.Fatal(err)
			}
			f := &targettest.Fault{At: at, Applied: applied}
			_, err = tryTarget(t.Context(), f.Wrap(target), time.Now)
			if f.Hit() == "" {
				if err != nil || at < 6 {
					t.Errorf("after %d operations: %v", at-1, err)
				}
				break
			}
			// One that says in any way that the object is gone is the answer wanted last.
			last := at == 5 && applied
			if err == nil && !last {
				t.Errorf("%s: no error", f)
			}
			left, err := filepath.Glob(filepath.Join(base, "segments", "*", "*"))
			deleted := !strings.HasPrefix(f.Hit(), "Delete") || applied
			if err != nil || deleted && len(left) > 0 {
				t.Errorf("%s: %s are left, %v", f, left, err)
			}
		}
	}
}

// late is a target whose clock is not this machine's.
type late struct {
	publish.Target
	by time.Duration
}

func (l late) Stat(ctx context.Context, key string) (publish.Object, error) {
	o, err := l.Target.Stat(ctx, key)
	o.Modified = o.Modified.Add(l.by)
	return o, err
}

func TestTryTargetSkew(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, 0, time.Hour} {
		target, err := dir.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		skew, err := tryTarget(t.Context(), late{target, by}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if off := (skew - by).Abs(); off > maxSkew {
			t.Errorf("skew of %s, want %s", skew, by)
		}
	}
}

// cut returns other bytes than were written.
type cut struct{ publish.Target }

func (c cut) Read(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	b, err := c.Target.Read(ctx, key, offset, length)
	if err == nil {
		b[0]++
	}
	return b, err
}

func TestTryTargetDamaged(t *testing.T) {
	target, err := dir.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryTarget(t.Context(), cut{target}, time.Now); err == nil {
		t.Error("no error")
	}
}

// TestRoom: a directory that is not there has no room.
func TestRoom(t *testing.T) {
	if n, err := room(t.TempDir()); err != nil || n <= 0 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := room(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
