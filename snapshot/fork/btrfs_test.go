package fork_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
	"github.com/qsync/qsync/snapshot/snapshottest"
)

// withoutPrivilege calls do as the same user without the right to administer the
// system.
func withoutPrivilege(t *testing.T, do func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and its rights with it.
		runtime.LockOSThread()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var rights [2]unix.CapUserData
		if err := unix.Capget(&header, &rights[0]); err != nil {
			done <- err
			return
		}
		rights[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
		if err := unix.Capset(&header, &rights[0]); err != nil {
			done <- err
			return
		}
		done <- do()
	}()
	return <-done
}

// Everybody may make a snapshot of what is theirs. Who could not delete it makes none.
func TestSnapshotThatCouldNotBeDeleted(t *testing.T) {
	dir := rocks(t, snapshottest.Filesystem(t, "btrfs", 128<<20))
	err := withoutPrivilege(t, func() error {
		_, err := forker(t, "btrfs").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "delete the subvolume") {
		t.Errorf("Begin = %v", err)
	}
	nothingLeft(t, dir)

	var f snapshot.Fork
	check(t, withoutPrivilege(t, func() (err error) {
		f, err = forker(t, "auto").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
		return err
	}))
	if !strings.HasPrefix(f.String(), "reflink, because btrfs: ") {
		t.Errorf("auto took %s", f)
	}
	check(t, f.Release())
	nothingLeft(t, dir)
}

// A subvolume that is the root of a mount cannot be forked beside itself.
func TestSnapshotAcrossFilesystems(t *testing.T) {
	dir := snapshottest.Filesystem(t, "btrfs", 128<<20)
	write(t, dir, "full/CURRENT", "x", false)
	_, err := forker(t, "btrfs").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	if err == nil || !strings.Contains(err.Error(), "on another filesystem than the directory it lies in") {
		t.Errorf("Begin = %v", err)
	}
	if _, err := os.Lstat(fork.Path(dir)); !os.IsNotExist(err) {
		t.Errorf("the fork directory is still there: %v", err)
	}
}

// Where a part of a subvolume is mounted there is no way up to its root.
func TestSnapshotOfAPart(t *testing.T) {
	whole := snapshottest.Filesystem(t, "btrfs", 128<<20)
	dir := rocks(t, filepath.Join(whole, "below"))
	part := t.TempDir()
	check(t, unix.Mount(filepath.Dir(dir), part, "", unix.MS_BIND, ""))
	defer unix.Unmount(part, 0)
	dir = filepath.Join(part, "db")
	_, err := forker(t, "btrfs").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	if err == nil || !strings.Contains(err.Error(), "it is mounted by a part") {
		t.Errorf("Begin = %v", err)
	}
	nothingLeft(t, dir)
}
