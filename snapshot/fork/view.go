package fork

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
)

// view is a directory that holds the frozen files. It has what all forks have in
// common.
type view struct {
	dir   *directory
	files *os.Root
}

// Open implements [snapshot.Fork].
func (v *view) Open(path string) (*os.File, error) { return v.files.Open(path) }

// Release implements [snapshot.Fork].
func (v *view) Release() error {
	if v.files != nil {
		v.files.Close() // or what it lies on could not be unmounted
	}
	return v.dir.remove()
}

// makeFiles makes the view an empty directory.
func (v *view) makeFiles() error {
	path := v.dir.join(filesDirectory)
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	return v.show(path)
}

// show makes the view that of a directory.
func (v *view) show(path string) (err error) {
	v.files, err = os.OpenRoot(path)
	return err
}

// stood makes sure, after a snapshot of a whole filesystem was taken, that the
// files of the database still are what they were when they were listed: then they
// are the same in the snapshot.
func stood(ctx context.Context, what string, db *snapshot.Tree) error {
	return each(ctx, db.Files, func(_ context.Context, e *snapshot.Entry) error {
		var st unix.Stat_t
		if err := unix.Lstat(db.Dir+"/"+e.Path, &st); errors.Is(err, os.ErrNotExist) {
			return changedInPause(what, e)
		} else if err != nil {
			return fmt.Errorf("stat %s: %w", e.Path, err)
		}
		e.Held = snapshot.StampOf(&st)
		if e.Held != e.Stamp {
			return changedInPause(what, e)
		}
		return nil
	})
}

func changedInPause(what string, e *snapshot.Entry) error {
	return fmt.Errorf("%s %s: it changed in the pause: the node was not stopped, or another process writes the database", what, e.Path)
}
