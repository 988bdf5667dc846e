package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest/database"
)

// Database is where a node keeps its files. The zero value is an unknown place.
type Database struct {
	Path string
	Kind *database.Kind
}

// locks are the files that a process holds locks on while it has the database open.
func (d Database) locks() ([]string, error) {
	if d.Path == "" || d.Kind == nil || d.Kind.Lock == "" {
		return nil, nil
	}
	root, err := filepath.EvalSymlinks(d.Path)
	if err != nil {
		return nil, err
	}
	var found []string
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // deleted by the node meanwhile
		}
		if err == nil && e.Type().IsRegular() && e.Name() == d.Kind.Lock {
			found = append(found, path)
		}
		return err
	})
	return found, err
}

// isOpenIn reports whether one of the processes has the database open, or
// whether that cannot be known: stopping others would not stop the writes.
func (d Database) isOpenIn(pids ...int) (bool, error) {
	locks, err := d.locks()
	if err != nil || len(locks) == 0 {
		return true, err
	}
	var want []os.FileInfo
	for _, l := range locks {
		if info, err := os.Stat(l); err == nil {
			want = append(want, info)
		}
	}
	for _, pid := range pids {
		if open, err := hasOpen(pid, want); open || err != nil {
			return open, err
		}
	}
	return false, nil
}

func hasOpen(pid int, files []os.FileInfo) (bool, error) {
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(fds)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return false, nil // the process has ended
	} else if err != nil {
		return false, fmt.Errorf("look what process %d has open: %w", pid, err)
	}
	for _, fd := range open {
		info, err := os.Stat(filepath.Join(fds, fd.Name()))
		if err != nil {
			continue // closed since
		}
		for _, f := range files {
			if os.SameFile(info, f) {
				return true, nil
			}
		}
	}
	return false, nil
}

// errOpen says that the database is in use.
var errOpen = errors.New("a process has the database open")

// hold takes the database's locks, or says errOpen. They last until the files are closed.
func (d Database) hold() (held []*os.File, err error) {
	locks, err := d.locks()
	if err != nil {
		return nil, err
	}
	for _, path := range locks {
		f, err := os.Open(path)
		if err != nil {
			return nil, errors.Join(err, release(held))
		}
		held = append(held, f)
		if err := lock(f); err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), release(held))
		}
	}
	return held, nil
}

// lock takes both kinds of lock, since engines differ in which they use: RocksDB,
// pebble and leveldb fcntl's, ParityDB flock's. A shared lock excludes their
// exclusive one and needs no right to write.
func lock(f *os.File) error {
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errOpen
	}
	return err
}

func release(held []*os.File) error {
	var errs []error
	for _, f := range held {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// checkClosed reports errOpen if a process has the database open, as far as
// that can be known. The locks are not kept: whoever resumes a node that was
// stopped must find its database free, even if this process hangs.
func (d Database) checkClosed() error {
	held, err := d.hold()
	return errors.Join(err, release(held))
}
