package publish_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/targettest"
)

func newDir(t *testing.T) (target *dir.Target, base string) {
	t.Helper()
	base = t.TempDir()
	target, err := dir.New(base)
	if err != nil {
		t.Fatal(err)
	}
	return target, base
}

// newStage has one target in a directory.
func newStage(t *testing.T) (s *targettest.Stage, base string) {
	t.Helper()
	target, base := newDir(t)
	return targettest.NewStage(t, target), base
}

func mustPublish(t *testing.T, s *targettest.Stage, generation int) publish.Receipt {
	t.Helper()
	receipt, err := s.Publish(t.Context(), s.Publisher, generation)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// secondAgent is a publisher of the same keys on another machine.
func secondAgent(t *testing.T, s *targettest.Stage) *publish.Publisher {
	other := *s.Publisher
	other.StateDir = t.TempDir()
	return &other
}

// wantError checks that an error says all that it should.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// flip changes a bit of a file.
func flip(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// age makes all objects of a directory older.
func age(t *testing.T, base string, by time.Duration) {
	t.Helper()
	err := filepath.WalkDir(base, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		then := info.ModTime().Add(-by)
		return os.Chtimes(path, then, then)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// objects are the keys of a directory's immutable objects.
func objects(t *testing.T, base string) []string {
	t.Helper()
	var keys []string
	for _, pattern := range []string{"manifests/*", "indexes/*", "segments/*/*"} {
		files, err := filepath.Glob(filepath.Join(base, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			keys = append(keys, strings.TrimPrefix(file, base+"/"))
		}
	}
	return keys
}

// hooked calls something around an operation of a target.
type hooked struct {
	publish.Target
	beforePut func(key string, body []byte) []byte
	afterList func()
	once      sync.Once
	swap      func(key string, swap func() error) error
	deleted   []string // keys in order
	mu        sync.Mutex
}

func (h *hooked) Put(ctx context.Context, key string, body []byte) error {
	if h.beforePut != nil {
		body = h.beforePut(key, bytes.Clone(body))
	}
	return h.Target.Put(ctx, key, body)
}

func (h *hooked) Swap(ctx context.Context, key, tag string, body []byte) error {
	swap := func() error { return h.Target.Swap(ctx, key, tag, body) }
	if h.swap != nil {
		return h.swap(key, swap)
	}
	return swap()
}

func (h *hooked) Delete(ctx context.Context, key string) error {
	h.mu.Lock()
	h.deleted = append(h.deleted, key)
	h.mu.Unlock()
	return h.Target.Delete(ctx, key)
}

func (h *hooked) List(ctx context.Context, prefix string, fn func(publish.Object) error) error {
	err := h.Target.List(ctx, prefix, fn)
	if h.afterList != nil {
		h.once.Do(h.afterList)
	}
	return err
}

func headFile(base string) string { return filepath.Join(base, manifest.HeadKey(targettest.Channel)) }
