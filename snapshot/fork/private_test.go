package fork_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/snapshottest"
)

// contents is what the files of a tree hold in a directory, and anything else that
// is there.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	check(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		p, err := filepath.Rel(dir, path)
		files[p] = string(b)
		return err
	}))
	return files
}

// frozen is what a fork holds.
func frozen(t *testing.T, f snapshot.Fork, cut *snapshot.Tree) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, e := range cut.Files {
		files[e.Path] = read(t, f, cut, e.Path)
	}
	return files
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteString(text)
	check(t, err)
	check(t, f.Close())
}

// TestCopyIsPrivate lets a program do to the copy of a fork all that programs do.
func TestCopyIsPrivate(t *testing.T) {
	require.Root(t)
	for place, parent := range places(t) {
		t.Run(place, func(t *testing.T) {
			dir := rocks(t, parent(t))
			write(t, dir, "full/LOCK", "", false)
			write(t, dir, "full/LOG.old/of the program", "text", false)
			f, err := forker(t, forkName(place)).Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
			check(t, err)
			defer f.Release()
			cut := tree(t, dir, kind(t, "rocksdb"))
			cut.Foreign = []string{"full/LOCK", "full/LOG.old/of the program"}
			check(t, f.Cut(t.Context(), cut))
			want := frozen(t, f, cut)
			appendTo(t, filepath.Join(dir, "full/000009.log"), " goes on")

			private, release, err := f.(snapshot.Copier).Copy(t.Context(), cut)
			check(t, err)
			appendTo(t, filepath.Join(dir, "full/parachains/db/000003.log"), " goes on, too")
			if diff := cmp.Diff(want, contents(t, private)); diff != "" {
				t.Errorf("the copy is not the database at the cut (-want +got):\n%s", diff)
			}
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			check(t, err)
			clones := strings.Contains(place, "xfs") || strings.Contains(place, "btrfs")
			if overlay := strings.Contains(string(mounts), private+" "); overlay == clones {
				t.Errorf("the copy is an overlay: %t, the filesystem clones: %t", overlay, clones)
			}

			appendTo(t, filepath.Join(private, "full/000009.log"), " of the copy")
			check(t, os.WriteFile(filepath.Join(private, "full/CURRENT"), []byte("MANIFEST-000077\n"), 0o600))
			check(t, os.Truncate(filepath.Join(private, "full/000007.sst"), 3))
			check(t, os.Rename(filepath.Join(private, "full/MANIFEST-000005"), filepath.Join(private, "full/000006.sst")))
			check(t, os.Remove(filepath.Join(private, "full/OPTIONS-000004")))
			check(t, os.RemoveAll(filepath.Join(private, "full/parachains")))
			write(t, private, "full/000099.sst", "new", false)
			if diff := cmp.Diff(want, frozen(t, f, cut)); diff != "" {
				t.Errorf("the fork has changed with its copy (-want +got):\n%s", diff)
			}
			check(t, release())
			check(t, release())
			if _, err := os.Lstat(private); !os.IsNotExist(err) {
				t.Errorf("the copy is still there: %v", err)
			}

			// Once more, and then all at once.
			_, release, err = f.(snapshot.Copier).Copy(t.Context(), cut)
			check(t, err)
			check(t, f.Release())
			nothingLeft(t, dir)
			check(t, release())
			nothingLeft(t, dir)
		})
	}
}

// Nothing can be cloned in an overlay, nor can it be the upper part of another.
func TestCopyWhereNothingElseWorks(t *testing.T) {
	require.Root(t)
	top := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		check(t, os.Mkdir(filepath.Join(top, name), 0o700))
	}
	merged := filepath.Join(top, "merged")
	check(t, unix.Mount("test", merged, "overlay", 0,
		"lowerdir="+top+"/lower,upperdir="+top+"/upper,workdir="+top+"/work"))
	defer unix.Unmount(merged, 0)
	dir := rocks(t, merged)
	f, err := forker(t, "hardlink").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	check(t, err)
	cut := tree(t, dir, kind(t, "rocksdb"))
	check(t, f.Cut(t.Context(), cut))
	want := frozen(t, f, cut)
	appendTo(t, filepath.Join(dir, "full/000009.log"), " goes on")
	private, release, err := f.(snapshot.Copier).Copy(t.Context(), cut)
	check(t, err)
	if diff := cmp.Diff(want, contents(t, private)); diff != "" {
		t.Errorf("the copy is not the database at the cut (-want +got):\n%s", diff)
	}
	check(t, release())
	check(t, f.Release())
	nothingLeft(t, dir)
}

// The kernel reads some characters of an overlay's paths as something else.
func TestCopyBelowAnyPath(t *testing.T) {
	require.Root(t)
	parent := filepath.Join(t.TempDir(), `a:b,c\d e`)
	dir := rocks(t, parent)
	f, err := forker(t, "hardlink").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	check(t, err)
	cut := tree(t, dir, kind(t, "rocksdb"))
	check(t, f.Cut(t.Context(), cut))
	private, _, err := f.(snapshot.Copier).Copy(t.Context(), cut)
	check(t, err)
	if filepath.Base(private) != "merged" {
		t.Errorf("%s is no overlay", private)
	}
	if diff := cmp.Diff(frozen(t, f, cut), contents(t, private)); diff != "" {
		t.Errorf("the copy (-want +got):\n%s", diff)
	}
	check(t, f.Release())
	nothingLeft(t, dir)
}

// A linked file that the node has cut back is not the one at the cut any more.
func TestCopyOfAFileThatWasCutBack(t *testing.T) {
	for _, filesystem := range []string{"ext4", "xfs"} {
		dir := rocks(t, filepath.Join(snapshottest.Filesystem(t, filesystem, 320<<20), "below"))
		f, err := forker(t, "hardlink").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
		check(t, err)
		cut := tree(t, dir, kind(t, "rocksdb"))
		check(t, f.Cut(t.Context(), cut))
		check(t, os.Truncate(filepath.Join(dir, "full/000007.sst"), 3))
		_, _, err = f.(snapshot.Copier).Copy(t.Context(), cut)
		if err == nil || !strings.Contains(err.Error(), "full/000007.sst") {
			t.Errorf("Copy on %s = %v", filesystem, err)
		}
		check(t, f.Release())
		nothingLeft(t, dir)
	}
}

func TestCancelledCopyLeavesNothing(t *testing.T) {
	dir := rocks(t, t.TempDir())
	f, err := forker(t, "hardlink").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	check(t, err)
	cut := tree(t, dir, kind(t, "rocksdb"))
	check(t, f.Cut(t.Context(), cut))
	want := frozen(t, f, cut)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.(snapshot.Copier).Copy(ctx, cut); err == nil {
		t.Error("a cancelled copy was made")
	}
	if got := frozen(t, f, cut); !maps.Equal(got, want) {
		t.Error("the fork has changed")
	}
	check(t, f.Release())
	nothingLeft(t, dir)
}

// Files of a database may have any name that those of a fork have.
func TestCopyOfAnyFiles(t *testing.T) {
	require.Root(t)
	dir := filepath.Join(t.TempDir(), "db")
	for _, name := range []string{"undo.json", "copy", "files/files", "trial", "snapshot"} {
		write(t, dir, name, "of the database: "+name, false)
	}
	files := kind(t, "files")
	f, err := forker(t, "copy").Begin(t.Context(), tree(t, dir, files))
	check(t, err)
	cut := tree(t, dir, files)
	check(t, f.Cut(t.Context(), cut))
	private, _, err := f.(snapshot.Copier).Copy(t.Context(), cut)
	check(t, err)
	if diff := cmp.Diff(contents(t, dir), contents(t, private)); diff != "" {
		t.Errorf("the copy (-want +got):\n%s", diff)
	}
	check(t, f.Release())
	nothingLeft(t, dir)
}
