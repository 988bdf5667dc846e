package fork

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/qsync/qsync/snapshot"
)

// Copy implements [snapshot.Copier]. It takes the first way that works: clones,
// an overlay, and only then the bytes themselves.
func (v *view) Copy(ctx context.Context, db *snapshot.Tree) (string, func() error, error) {
	first := len(v.dir.steps)
	top := v.dir.join(copyDirectory)
	if err := os.Mkdir(top, 0o700); err != nil {
		return "", nil, err
	}
	release := func() error {
		if err := v.dir.undo(context.WithoutCancel(ctx), first); err != nil {
			return fmt.Errorf("remove the copy of the fork: %w", err)
		}
		return v.dir.removeAll(copyDirectory)
	}
	var failed []error
	for _, way := range []struct {
		name string
		make func(ctx context.Context, top string, db *snapshot.Tree) (string, error)
	}{{"reflink", v.cloneAll}, {"overlay", v.overlay}, {"copy", v.copyAll}} {
		dir, err := way.make(ctx, top, db)
		if err == nil {
			return dir, release, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", way.name, err))
		cause := context.Cause(ctx)
		if err := errors.Join(cause, release()); err != nil {
			return "", nil, err
		}
		if err := os.Mkdir(top, 0o700); err != nil {
			return "", nil, err
		}
	}
	return "", nil, errors.Join(fmt.Errorf("no copy works here: %s", join(failed)), release())
}

func (v *view) cloneAll(ctx context.Context, top string, db *snapshot.Tree) (string, error) {
	return v.dir.named(copyDirectory), v.fillAll(ctx, top, db, ficlone)
}

func (v *view) copyAll(ctx context.Context, top string, db *snapshot.Tree) (string, error) {
	if err := v.dir.room(db); err != nil {
		return "", err
	}
	return v.dir.named(copyDirectory), v.fillAll(ctx, top, db, copySparse)
}

// fillAll makes files of the view's, each as long as at the cut.
func (v *view) fillAll(ctx context.Context, top string, db *snapshot.Tree, fill func(ctx context.Context, dst, src *os.File, size int64) error) error {
	to, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer to.Close()
	return each(ctx, db.Files, func(ctx context.Context, e *snapshot.Entry) error {
		src, err := v.files.Open(e.Path)
		if err != nil {
			return err
		}
		defer src.Close()
		dst, err := create(to, e.Path)
		if err != nil {
			return err
		}
		defer dst.Close()
		if err := fill(ctx, dst, src, e.Stamp.Size); err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
		return cutOff(dst, e)
	})
}

// cutOff removes what was written to a file after the cut.
func cutOff(f *os.File, e *snapshot.Entry) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() < e.Stamp.Size {
		return fmt.Errorf("%s had %d bytes at the cut and has %d now", e.Path, e.Stamp.Size, st.Size())
	}
	if st.Size() == e.Stamp.Size {
		return nil
	}
	return f.Truncate(e.Stamp.Size)
}
