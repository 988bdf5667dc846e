package fork_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
)

// The node's user owns the directory that a fork directory lies in, and may try to
// have the agent run something.
func TestStepsOfOthersAreNotTaken(t *testing.T) {
	require.Root(t)
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"another's directory": func(t *testing.T, dir string) { check(t, os.Chown(dir, 1, 1)) },
		"another's file":      func(t *testing.T, dir string) { check(t, os.Chown(filepath.Join(dir, "undo.json"), 1, 1)) },
		"open directory":      func(t *testing.T, dir string) { check(t, os.Chmod(dir, 0o777)) },
		"a link": func(t *testing.T, dir string) {
			check(t, os.Rename(filepath.Join(dir, "undo.json"), filepath.Join(dir, "another")))
			check(t, os.Symlink("another", filepath.Join(dir, "undo.json")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := rocks(t, t.TempDir())
			steps := `[{"command":{"argv":["touch","` + dir + `.taken"],"printed":"printed","timeout":60000000000}}]`
			write(t, fork.Path(dir), "undo.json", steps, false)
			check(t, os.Chmod(filepath.Join(fork.Path(dir), "undo.json"), 0o600))
			spoil(t, fork.Path(dir))
			if err := forker(t, "copy").Clean(t.Context(), dir); err == nil {
				t.Error("Clean took them")
			}
			if _, err := forker(t, "copy").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb"))); err == nil {
				t.Error("Begin took them")
			}
			if _, err := os.Lstat(dir + ".taken"); !os.IsNotExist(err) {
				t.Errorf("the command was run: %v", err)
			}
		})
	}
}

func TestStepsThatMakeNoSense(t *testing.T) {
	for steps, want := range map[string]string{
		`[{"unmount":"../../x"}]`:  "outside of the directory",
		`[{"subvolume":"/"}]`:      "outside of the directory",
		`[{"of":"another time"}]`:  "does not know",
		`[{"unmount":"volu`:        "unexpected end",
		`{"unmount":"the volume"}`: "cannot unmarshal",
	} {
		dir := rocks(t, t.TempDir())
		write(t, fork.Path(dir), "undo.json", steps, false)
		check(t, os.Chmod(fork.Path(dir), 0o700))
		if err := forker(t, "copy").Clean(t.Context(), dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Clean with %s = %v, want %q", steps, err, want)
		}
	}
}

// What is mounted in a fork directory is not deleted with it.
func TestMountsAreNotReachedInto(t *testing.T) {
	require.Root(t)
	dir := rocks(t, t.TempDir())
	other := t.TempDir()
	write(t, other, "precious", "x", false)
	at := filepath.Join(fork.Path(dir), "somewhere", "below")
	check(t, os.MkdirAll(at, 0o700))
	check(t, unix.Mount(other, at, "", unix.MS_BIND, ""))
	err := forker(t, "copy").Clean(t.Context(), dir)
	check(t, unix.Unmount(at, 0))
	if err == nil || !strings.Contains(err.Error(), "is still mounted") {
		t.Errorf("Clean = %v", err)
	}
	if _, err := os.Lstat(filepath.Join(other, "precious")); err != nil {
		t.Error(err)
	}
	check(t, forker(t, "copy").Clean(t.Context(), dir))
	nothingLeft(t, dir)
}

// A program that still runs in the copy keeps nobody from removing it.
func TestCopyIsInUse(t *testing.T) {
	require.Root(t)
	dir := rocks(t, t.TempDir())
	f, err := forker(t, "hardlink").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	check(t, err)
	cut := tree(t, dir, kind(t, "rocksdb"))
	check(t, f.Cut(t.Context(), cut))
	private, release, err := f.(snapshot.Copier).Copy(t.Context(), cut)
	check(t, err)
	used, err := os.Open(filepath.Join(private, "full"))
	check(t, err)
	defer used.Close()
	check(t, release())
	check(t, f.Release())
	nothingLeft(t, dir)
}

// What somebody else has made where the fork directory is to be is not ours to delete,
// nor a place to work in: its owner could put links there.
func TestDirectoryOfOthers(t *testing.T) {
	require.Root(t)
	for name, spoil := range map[string]func(dir string) error{
		"another's":      func(dir string) error { return os.Chown(dir, 1, 1) },
		"open to others": func(dir string) error { return os.Chmod(dir, 0o777) },
		"a link": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".there"), os.Symlink(dir+".there", dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := rocks(t, t.TempDir())
			write(t, fork.Path(dir), "precious", "x", false)
			check(t, spoil(fork.Path(dir)))
			for _, way := range []string{"copy", "hardlink"} {
				if err := forker(t, way).Clean(t.Context(), dir); err == nil {
					t.Error("Clean took it for ours")
				}
				if f, err := forker(t, way).Begin(t.Context(), tree(t, dir, kind(t, "rocksdb"))); err == nil {
					t.Errorf("Begin took it for ours: %v", f.Release())
				}
			}
			if _, err := os.Stat(filepath.Join(fork.Path(dir), "precious")); err != nil {
				t.Error(err)
			}
		})
	}
}

// The node's user may put something else in the place of the fork directory while it
// is in use.
func TestDirectoryIsExchanged(t *testing.T) {
	dir := rocks(t, t.TempDir())
	f, err := forker(t, "hardlink").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	check(t, err)
	cut := tree(t, dir, kind(t, "rocksdb"))
	check(t, f.Cut(t.Context(), cut))
	_, release, err := f.(snapshot.Copier).Copy(t.Context(), cut)
	check(t, err)

	victim := t.TempDir()
	for _, place := range []string{"copy", "copy/merged", "files"} {
		write(t, victim, place+"/precious", "x", false)
	}
	check(t, os.Rename(fork.Path(dir), dir+".away"))
	check(t, os.Symlink(victim, fork.Path(dir)))
	check(t, release())
	_, release, err = f.(snapshot.Copier).Copy(t.Context(), cut)
	check(t, err)
	check(t, release())
	if err := f.Release(); err == nil {
		t.Error("nobody says that the fork directory is not where it was")
	}
	for _, place := range []string{"copy", "copy/merged", "files"} {
		if left := names(t, filepath.Join(victim, place)); !slices.Contains(left, "precious") || len(left) > 2 {
			t.Errorf("in another's %s there is %q", place, left)
		}
	}
	if left := names(t, dir+".away"); len(left) > 0 {
		t.Errorf("in the fork directory there still is %q", left)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
