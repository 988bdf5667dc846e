package fetcher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest/database"
)

// checkNotHeld refuses a directory that a node has open: engines hold a lock on
// a file in each database of theirs.
func checkNotHeld(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(p string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || !database.IsLock(p) {
			return err
		}
		f, err := root.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		held, err := lockHeld(f)
		if err != nil {
			return fmt.Errorf("test the lock %s: %w", p, err)
		}
		if held {
			return fmt.Errorf("database in %s: %w: a process holds its lock %s", root.Name(), ErrInUse, p)
		}
		return nil
	})
}

// lockHeld reports whether another process holds a lock of either kind:
// RocksDB and Pebble use fcntl, ParityDB and LevelDB flock.
func lockHeld(f *os.File) (bool, error) {
	query := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &query); err != nil {
		return false, err
	}
	if query.Type != unix.F_UNLCK {
		return true, nil
	}
	err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, unix.Flock(int(f.Fd()), unix.LOCK_UN)
}
