package ipfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/targettest"
)

// restoredTree writes a generation's files and opens them.
func restoredTree(t *testing.T) (*Restored, *manifest.Index, string) {
	t.Helper()
	dir := t.TempDir()
	for path, raw := range targettest.Raw(0) {
		if err := os.WriteFile(filepath.Join(dir, path), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x, _ := targettest.Generation(0)
	r, err := OpenRestored(dir, x)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, x, dir
}

func TestRestored(t *testing.T) {
	r, x, _ := restoredTree(t)
	root, err := unixfs.Snapshot(x, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := filesOf(t.Context(), r, root.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(targettest.Raw(0), got, cmp.Comparer(bytes.Equal)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRestoredChanges: what a node has changed since is not there, and no error.
func TestRestoredChanges(t *testing.T) {
	for name, change := range map[string]func(file string) error{
		"another byte": func(file string) error { return os.WriteFile(file, []byte("this is generatioN 0"), 0o644) },
		"shorter":      func(file string) error { return os.Truncate(file, 3) },
		"gone":         os.Remove,
		"a link": func(file string) error {
			return errors.Join(os.Remove(file), os.Symlink("/etc/hostname", file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, x, dir := restoredTree(t)
			chunk := func(path string) unixfs.CID {
				i, _ := x.Find(path)
				return unixfs.CID{Codec: unixfs.Raw, Digest: x.Files[i].Chunk(0)}
			}
			if err := change(filepath.Join(dir, "changing")); err != nil {
				t.Fatal(err)
			}
			if b, err := r.Get(t.Context(), chunk("changing")); b != nil || err == nil || name != "a link" && !errors.Is(err, ErrNotFound) {
				t.Errorf("%d bytes, %v, want ErrNotFound", len(b), err)
			}
			if _, err := r.Get(t.Context(), chunk("same")); err != nil {
				t.Errorf("another file: %v", err)
			}
		})
	}
}
