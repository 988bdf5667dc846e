package fork

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
)

// btrfs makes a snapshot of the subvolume that the database lies in. That takes
// the same time for any number of files, and of extents in them.
type btrfs struct{ cleaner }

func (btrfs) String() string { return "btrfs" }

func (btrfs) Begin(ctx context.Context, db *snapshot.Tree) (_ snapshot.Fork, err error) {
	root, err := subvolumeOf(db.Dir)
	if err != nil {
		return nil, err
	}
	below, err := filepath.Rel(root, db.Dir)
	if err != nil {
		return nil, err
	}
	dir, err := makeDirectory(ctx, db.Dir)
	if err != nil {
		return nil, err
	}
	f := &subvolumeFork{view: view{dir: dir}, root: root, below: below}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Release())
		}
	}()
	if err := dir.plan(step{Subvolume: snapshotVolume}); err != nil {
		return nil, err
	}
	if err := f.try(); err != nil {
		return nil, err
	}
	return f, flush(ctx, db.Dir)
}

type subvolumeFork struct {
	view
	root  string // of the subvolume
	below string // the path of the database from there
}

// try makes a subvolume and a snapshot, and deletes them. Users may be allowed to
// make one but not to delete it: that must not be found out with a snapshot of
// everything.
func (f *subvolumeFork) try() error {
	target := f.dir.join(snapshotVolume)
	err := createSubvolume(target)
	if err == nil {
		if err := destroySubvolume(target); err != nil {
			// While it is empty it may be removed like any directory.
			return errors.Join(err, os.Remove(target))
		}
		err = errors.Join(snapshotSubvolume(f.root, target), destroySubvolume(target))
	}
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%s is on another filesystem than the directory it lies in: %w", f.root, err)
	}
	return err
}

func (f *subvolumeFork) Cut(ctx context.Context, db *snapshot.Tree) error {
	target := f.dir.join(snapshotVolume)
	if err := snapshotSubvolume(f.root, target); err != nil {
		return err
	}
	if err := stood(ctx, "btrfs", db); err != nil {
		return err
	}
	return f.show(filepath.Join(target, f.below))
}

func (f *subvolumeFork) String() string { return "btrfs" }
