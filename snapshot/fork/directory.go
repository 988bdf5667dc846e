package fork

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// directory is the directory beside a database that holds its fork: on the
// same filesystem, so that files can be linked or cloned into it, and never inside
// the database, where the node would find it.
type directory struct {
	path string
	lock *os.File
}

// Path is where the fork of a database lies.
func Path(db string) string {
	return filepath.Join(filepath.Dir(db), ".qsync-fork-"+filepath.Base(db))
}

// makeDirectory makes an empty fork directory for a database and locks it
// against other runs. What an earlier run left in it is removed.
func makeDirectory(db string) (*directory, error) {
	d := &directory{path: Path(db)}
	if err := os.Mkdir(d.path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the fork directory: %w", err)
	}
	lock, err := os.OpenFile(d.path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the fork directory: %w", err)
	}
	d.lock = lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: another run is taking a snapshot of this database", d.path)
		}
		return nil, fmt.Errorf("lock %s: %w", d.path, err)
	}
	if err := d.clear(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("remove what an earlier run left in %s: %w", d.path, err)
	}
	return d, nil
}

func (d *directory) clear() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(d.path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the directory with all it holds. Further calls do nothing.
func (d *directory) remove() error {
	if d.lock == nil {
		return nil
	}
	if err := os.RemoveAll(d.path); err != nil {
		return fmt.Errorf("remove the fork: %w", err)
	}
	lock := d.lock
	d.lock = nil
	return lock.Close()
}

// cleaner makes the Clean of every forker the same: one that is configured
// today finds what another one left yesterday.
type cleaner struct{}

func (cleaner) Clean(_ context.Context, dir string) error {
	if _, err := os.Lstat(Path(dir)); err != nil {
		return ignoreNotExist(err)
	}
	d, err := makeDirectory(dir)
	if err != nil {
		return err
	}
	return d.remove()
}
