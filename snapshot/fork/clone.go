package fork

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot"
)

// clone forks a database file by file into files of its own.
type clone struct {
	cleaner
	name string
	// fill makes dst hold the first size bytes of src.
	fill func(ctx context.Context, dst, src *os.File, size int64) error
	// try reports whether it would work for the whole database.
	try func(f *cloneFork, db *snapshot.Tree) error
	// flush says that fill waits for what the source has not yet written to
	// disk, so that this should be done before the pause.
	flush bool
}

func (c *clone) String() string { return c.name }

func (c *clone) Begin(ctx context.Context, db *snapshot.Tree) (_ snapshot.Fork, err error) {
	dir, err := makeDirectory(ctx, db.Dir)
	if err != nil {
		return nil, err
	}
	f := &cloneFork{clone: c, view: view{dir: dir}, early: make(map[string]snapshot.Stamp)}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Release())
		}
	}()
	if f.from, err = os.OpenRoot(db.Dir); err != nil {
		return nil, err
	}
	if err := f.makeFiles(); err != nil {
		return nil, err
	}
	if err := c.try(f, db); err != nil {
		return nil, err
	}
	return f, f.takeEarly(ctx, db)
}

type cloneFork struct {
	*clone
	view
	from *os.Root

	mu    sync.Mutex
	early map[string]snapshot.Stamp // what was taken before the pause, as it was then
}

// takeEarly takes, while the node goes on, the files that should not change any
// more. The cut takes those again that have changed all the same.
func (f *cloneFork) takeEarly(ctx context.Context, db *snapshot.Tree) error {
	now := time.Now()
	return each(ctx, db.Files, func(ctx context.Context, e *snapshot.Entry) error {
		if e.Class == database.Immutable && e.Stamp.Settled(now) {
			stamp, err := f.take(ctx, e)
			if err == nil {
				f.mu.Lock()
				f.early[e.Path] = stamp
				f.mu.Unlock()
			}
			return ignoreNotExist(err)
		}
		if f.flush {
			return ignoreNotExist(f.sync(e.Path))
		}
		return nil
	})
}

// ignoreNotExist lets files go that the node has deleted meanwhile.
func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f *cloneFork) sync(path string) error {
	src, err := f.from.Open(path)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := unix.Fdatasync(int(src.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

func (f *cloneFork) Cut(ctx context.Context, db *snapshot.Tree) error {
	return each(ctx, db.Files, func(ctx context.Context, e *snapshot.Entry) error {
		e.Held = e.Stamp
		if f.early[e.Path] == e.Stamp {
			return nil
		}
		stamp, err := f.take(ctx, e)
		if err == nil && stamp != e.Stamp {
			err = changedInPause(f.name, e)
		}
		return err
	})
}

// take makes the fork's file and returns the stamp that its source had before
// and after.
func (f *cloneFork) take(ctx context.Context, e *snapshot.Entry) (snapshot.Stamp, error) {
	src, err := f.from.OpenFile(e.Path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return snapshot.Stamp{}, err
	}
	defer src.Close()
	before, err := stampOf(src)
	if err != nil {
		return snapshot.Stamp{}, err
	}
	dst, err := create(f.files, e.Path)
	if err != nil {
		return snapshot.Stamp{}, err
	}
	defer dst.Close()
	if err := f.fill(ctx, dst, src, before.Size); err != nil {
		return snapshot.Stamp{}, fmt.Errorf("%s %s: %w", f.name, e.Path, err)
	}
	after, err := stampOf(src)
	if err != nil || after == before {
		return after, err
	}
	return snapshot.Stamp{}, nil // which no file has: it is taken again at the cut
}

// create makes a file with the directories above it.
func create(root *os.Root, p string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	f, err := root.OpenFile(p, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := root.MkdirAll(path.Dir(p), 0o700); err != nil {
			return nil, err
		}
		f, err = root.OpenFile(p, flags, 0o600)
	}
	return f, err
}

func stampOf(f *os.File) (snapshot.Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return snapshot.Stamp{}, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return snapshot.StampOf(&st), nil
}

func (f *cloneFork) Release() error {
	if f.from != nil {
		f.from.Close()
	}
	return f.view.Release()
}
