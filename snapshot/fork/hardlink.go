package fork

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot"
)

// hardlink links files. A link shares what is written to the file later, so
// the fork holds only what is never written twice: up to its length at the cut. What
// the engine does write twice is copied in the pause.
type hardlink struct{ cleaner }

func (hardlink) String() string { return "hardlink" }

func (hardlink) Begin(ctx context.Context, db *snapshot.Tree) (_ snapshot.Fork, err error) {
	if !db.Kind.Frozen {
		return nil, fmt.Errorf("files of kind %s change in place, and a hard link would change with them", db.Kind.Name)
	}
	dir, err := makeDirectory(ctx, db.Dir)
	if err != nil {
		return nil, err
	}
	f := &linkFork{view: view{dir: dir}, directories: make(map[string]*linkDirectory), early: make(map[string]uint64)}
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
	if err := f.open(db); err != nil {
		return nil, err
	}
	if err := f.try(db); err != nil {
		return nil, err
	}
	return f, f.linkEarly(ctx, db)
}

type linkFork struct {
	view
	from        *os.Root
	directories map[string]*linkDirectory // by path in the database
	copied      int                       // files that had to be copied at the cut

	mu    sync.Mutex
	early map[string]uint64 // path → inode of what was linked before the pause
}

// linkDirectory is a directory of the database and its twin in the fork.
// Working with handles spares the kernel to walk the same path thousands of times.
type linkDirectory struct {
	from, to *os.File
}

// open opens the directories that the tree's files lie in.
func (f *linkFork) open(db *snapshot.Tree) error {
	for i := range db.Files {
		p := path.Dir(db.Files[i].Path)
		if f.directories[p] != nil {
			continue
		}
		d := &linkDirectory{}
		f.directories[p] = d
		if err := f.files.MkdirAll(p, 0o700); err != nil {
			return err
		}
		var err error
		if d.from, err = f.from.Open(p); err != nil {
			return err
		}
		if d.to, err = f.files.Open(p); err != nil {
			return err
		}
	}
	return nil
}

// try links one file: a system may keep users from linking files of others, and
// a mount may lie between. It takes one whose ctime nobody goes by.
func (f *linkFork) try(db *snapshot.Tree) error {
	for i := range db.Files {
		e := db.Files[i]
		if e.Class == database.Immutable {
			continue
		}
		err := f.link(&e)
		switch {
		case err == nil:
			return f.files.Remove(e.Path)
		case errors.Is(err, unix.EXDEV):
			return fmt.Errorf("%s is another filesystem or subvolume than the directory it lies in: %w", db.Dir, err)
		case ignoreNotExist(err) != nil:
			return err
		}
		// The node has deleted it: another one then.
	}
	return nil
}

// linkEarly links, while the node goes on, what makes up nearly all of a
// database. Links in thousands take longer than a node may be held.
func (f *linkFork) linkEarly(ctx context.Context, db *snapshot.Tree) error {
	return each(ctx, db.Files, func(_ context.Context, e *snapshot.Entry) error {
		if e.Class != database.Immutable {
			return nil
		}
		linked := *e
		if err := f.link(&linked); err != nil {
			return ignoreNotExist(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.early[e.Path] = linked.Held.Inode
		return nil
	})
}

func (f *linkFork) Cut(ctx context.Context, db *snapshot.Tree) error {
	if err := f.open(db); err != nil {
		return err
	}
	rewritten, err := f.rewritten(db)
	if err != nil {
		return err
	}
	for i := range db.Files {
		if rewritten(&db.Files[i]) {
			f.copied++
		}
	}
	return each(ctx, db.Files, func(ctx context.Context, e *snapshot.Entry) error {
		if rewritten(e) {
			return f.copy(ctx, e)
		}
		return f.take(e)
	})
}

// take makes sure that the fork has a link to the file as it is in the pause.
func (f *linkFork) take(e *snapshot.Entry) error {
	inode, linked := f.early[e.Path]
	if linked && inode == e.Stamp.Inode {
		e.Held = e.Stamp
		return nil
	}
	if linked { // to a file that the node has replaced since
		if err := f.files.Remove(e.Path); err != nil {
			return err
		}
	}
	if err := f.link(e); err != nil {
		return err
	}
	if !e.Held.SameContent(e.Stamp) {
		return changedInPause("link", e)
	}
	return nil
}

// link links the file and sets what it then looks like.
func (f *linkFork) link(e *snapshot.Entry) error {
	d, name := f.directories[path.Dir(e.Path)], path.Base(e.Path)
	if err := unix.Linkat(int(d.from.Fd()), name, int(d.to.Fd()), name, 0); err != nil {
		return &os.LinkError{Op: "link", Old: path.Join(d.from.Name(), name), New: path.Join(d.to.Name(), name), Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(d.to.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("stat the link to %s: %w", e.Path, err)
	}
	e.Held = snapshot.StampOf(&st)
	return nil
}

// copy copies the file as it is in the pause.
func (f *linkFork) copy(ctx context.Context, e *snapshot.Entry) error {
	src, err := f.from.OpenFile(e.Path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := f.files.OpenFile(e.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := copySparse(ctx, dst, src, e.Stamp.Size); err != nil {
		return fmt.Errorf("copy %s: %w", e.Path, err)
	}
	e.Held, err = stampOf(src)
	if err == nil && e.Held != e.Stamp {
		err = changedInPause("copy", e)
	}
	return err
}

func (f *linkFork) Release() error {
	for _, d := range f.directories {
		d.close()
	}
	f.directories = nil
	if f.from != nil {
		f.from.Close()
	}
	return f.view.Release()
}

func (d *linkDirectory) close() {
	for _, handle := range []*os.File{d.from, d.to} {
		if handle != nil {
			handle.Close()
		}
	}
}

func (f *linkFork) String() string {
	if f.copied == 0 {
		return "hardlink"
	}
	return fmt.Sprintf("hardlink (%d files that are written in place were copied)", f.copied)
}
