package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// None stops nothing, so the database must not be in use. It holds the
// database's own lock from Quiesce to Resume, so that no process opens it in between.
type None struct {
	Database Database

	mu   sync.Mutex
	held []*os.File
}

func (n *None) String() string {
	if n.Database.Kind == nil || n.Database.Kind.Lock == "" {
		return "no node (nothing is stopped, and nothing shows whether a process writes the files)"
	}
	return "no node (nothing is stopped; the database is locked for the moment of the cut)"
}

// Quiesce locks the database. It fails if a process has it open.
func (n *None) Quiesce(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	locks, err := n.Database.locks()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, path := range locks {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		n.held = append(n.held, f)
		if err := lock(f); err != nil {
			return fmt.Errorf("lock %s: %w", path, err)
		}
	}
	return nil
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
		return errors.New("a process has the database open, and no node is configured that would be stopped: its writes would tear the snapshot")
	}
	return err
}

// Resume releases the locks.
func (n *None) Resume(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, f := range n.held {
		errs = append(errs, f.Close())
	}
	n.held = nil
	return errors.Join(errs...)
}
