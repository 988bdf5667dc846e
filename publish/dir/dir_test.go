package dir_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/targettest"
	"github.com/qsync/qsync/scripts/require"
)

func newTarget(t *testing.T, base string) *dir.Target {
	t.Helper()
	target, err := dir.New(base)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestTarget(t *testing.T) {
	targettest.Run(t, func(t *testing.T) publish.Target { return newTarget(t, targettest.MemoryDir(t)) })
}

func TestFiles(t *testing.T) {
	newFiles := func(t *testing.T) dir.Files {
		f, err := dir.NewFiles(targettest.MemoryDir(t))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	targettest.RunFiles(t, newFiles, func(t *testing.T) publish.Target { return newTarget(t, targettest.MemoryDir(t)) })
}

// TestMemory: of a file that is written little is in memory, however large its pieces are.
func TestMemory(t *testing.T) {
	const size, most = 64 << 20, 6 << 20
	target, err := dir.NewFiles(targettest.MemoryDir(t))
	if err != nil {
		t.Fatal(err)
	}
	var pieces []publish.Piece
	for at := int64(0); at < size; at += publish.MinPiece {
		pieces = append(pieces, publish.Piece{Offset: at, Length: publish.MinPiece})
	}
	for name, pieces := range map[string][]publish.Piece{"one": {{Length: size}}, "many": pieces} {
		content := bytes.NewReader(make([]byte, size))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := target.Assemble(t.Context(), targettest.Channel+"/20261122-040000/table", pieces, content); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > most {
			t.Errorf("%s: %d bytes were allocated to write %d, want at most %d", name, used, size, most)
		}
	}
}

// TestModes: a web server under another user reads what is published, whatever
// the umask of the agent.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	base := filepath.Join(t.TempDir(), "srv", "qsync")
	target := newTarget(t, base)
	if err := target.Put(t.Context(), "segments/ab/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := target.Swap(t.Context(), "some-channel/head", "", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{
		"segments/ab/x": 0o644, "some-channel/head": 0o644,
		"": fs.ModeDir | 0o755, "segments/ab": fs.ModeDir | 0o755, "some-channel": fs.ModeDir | 0o755,
	} {
		if info, err := os.Stat(filepath.Join(base, path)); err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", path, info.Mode(), want)
		}
	}
}

// TestLinks: the base may be a link. One below it would hide a head from those
// who look for what must stay, so it is an error.
func TestLinks(t *testing.T) {
	outer := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(outer, "base")); err != nil {
		t.Fatal(err)
	}
	target := newTarget(t, filepath.Join(outer, "base"))
	if err := target.Swap(t.Context(), "some-channel/head", "", []byte("x")); err != nil {
		t.Fatal(err)
	}
	count := func() (n int, err error) {
		err = target.List(t.Context(), "", func(publish.Object) error { n++; return nil })
		return n, err
	}
	if n, err := count(); n != 1 || err != nil {
		t.Errorf("%d objects, %v, want 1", n, err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(outer, "base", "other-channel")); err != nil {
		t.Fatal(err)
	}
	if _, err := count(); err == nil {
		t.Error("a link below the base is passed over")
	}
}

// TestLeftovers: what a killed Put leaves is found by its age, and is no object.
func TestLeftovers(t *testing.T) {
	base := t.TempDir()
	target := newTarget(t, base)
	now := time.Now()
	for name, age := range map[string]time.Duration{"old": 2 * time.Hour, "young": 0} {
		file := filepath.Join(base, ".qsync", "tmp", name)
		if err := os.WriteFile(file, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	err := target.List(t.Context(), "", func(o publish.Object) error {
		t.Errorf("%s is listed", o.Key)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found := func(remove bool) (keys []string) {
		err := target.Leftovers(t.Context(), now.Add(-time.Hour), remove, func(o publish.Object) error {
			keys = append(keys, o.Key)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	for _, c := range []struct {
		remove bool
		want   int
	}{{false, 1}, {true, 1}, {true, 0}} {
		if got := found(c.remove); len(got) != c.want {
			t.Errorf("leftovers %v, want %d", got, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(base, ".qsync", "tmp", "young")); err != nil {
		t.Error(err)
	}
}

// TestFullDisk: the error says what it is, and there is neither a part of an
// object nor a temp file that keeps the disk full.
func TestFullDisk(t *testing.T) {
	require.Root(t)
	base := t.TempDir()
	if err := syscall.Mount("tmpfs", base, "tmpfs", 0, "size=1M"); err != nil {
		t.Fatalf("mount a small filesystem: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(base, 0) })
	target := newTarget(t, base)
	head := []byte("old head")
	if err := target.Swap(t.Context(), "some-channel/head", "", head); err != nil {
		t.Fatal(err)
	}
	_, tag, err := target.Load(t.Context(), "some-channel/head")
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Put(t.Context(), "segments/ab/big", make([]byte, 2<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("put: %v, want ENOSPC", err)
	}
	if _, err := target.Stat(t.Context(), "segments/ab/big"); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("stat: %v, want ErrNotFound", err)
	}
	fill := filepath.Join(base, "fill")
	if err := os.WriteFile(fill, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := target.Swap(t.Context(), "some-channel/head", tag, []byte("new head")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("swap: %v, want ENOSPC", err)
	}
	if got, _, err := target.Load(t.Context(), "some-channel/head"); err != nil || !bytes.Equal(got, head) {
		t.Errorf("load after the failed swap: %q, %v", got, err)
	}
	if left, err := os.ReadDir(filepath.Join(base, ".qsync", "tmp")); err != nil || len(left) != 0 {
		t.Errorf("temp files %v, %v", left, err)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	if err := target.Swap(t.Context(), "some-channel/head", tag, []byte("new head")); err != nil {
		t.Errorf("swap after room was made: %v", err)
	}
}
