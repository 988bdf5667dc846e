package fork_test

import (
	"os"
	"path/filepath"
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
