package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ForkDir is the directory beside a database that holds its fork: on the
// same filesystem, so that files can be linked or cloned into it, and never inside
// the database, where the node would find it.
type ForkDir struct {
	Path string
	lock *os.File
}

// ForkPath is where the fork of a database lies.
func ForkPath(db string) string {
	return filepath.Join(filepath.Dir(db), ".qsync-fork-"+filepath.Base(db))
}

// MakeForkDir makes an empty fork directory for a database and locks it
// against other runs. What an earlier run left in it is removed.
func MakeForkDir(db string) (*ForkDir, error) {
	d := &ForkDir{Path: ForkPath(db)}
	if err := os.Mkdir(d.Path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the fork directory: %w", err)
	}
	lock, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the fork directory: %w", err)
	}
	d.lock = lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: another run is taking a snapshot of this database", d.Path)
		}
		return nil, fmt.Errorf("lock %s: %w", d.Path, err)
	}
	if err := d.clear(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("remove what an earlier run left in %s: %w", d.Path, err)
	}
	return d, nil
}

func (d *ForkDir) clear() error {
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(d.Path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes the directory with all it holds. Further calls do nothing.
func (d *ForkDir) Remove() error {
	if d.lock == nil {
		return nil
	}
	if err := os.RemoveAll(d.Path); err != nil {
		return fmt.Errorf("remove the fork: %w", err)
	}
	lock := d.lock
	d.lock = nil
	return lock.Close()
}
