package fetcher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// oldSuffix makes the name under which a replaced directory is kept.
const oldSuffix = ".qsync-old"

// finish puts the complete tree in the target's place. All chunks are written;
// before the exchange all is durable.
func (r *restore) finish() (oldDirectory string, err error) {
	if err := r.ledger.flush(); err != nil {
		return "", err
	}
	if err := r.tree.removeExtras(nil); err != nil {
		return "", err
	}
	owner, err := ownershipOf(filepath.Dir(r.target))
	if err != nil {
		return "", err
	}
	if err := r.tree.seal(owner); err != nil {
		return "", err
	}
	if err := r.checkTarget(); err != nil { // hours may have passed
		return "", err
	}
	if err := r.work.noteSwap(r.digest); err != nil {
		return "", err
	}
	if err := r.exchange(); err != nil {
		return "", err
	}
	return r.clearUp()
}

// exchange makes the tree the target. There is no moment without a whole
// database at the target's name, where the filesystem can exchange two.
func (r *restore) exchange() error {
	tree := r.work.treePath()
	err := os.Rename(tree, r.target)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		err = unix.Renameat2(unix.AT_FDCWD, tree, unix.AT_FDCWD, r.target, unix.RENAME_EXCHANGE)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			if err = os.Rename(r.target, r.work.file("old")); err == nil {
				err = os.Rename(tree, r.target)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("put the restored directory in the place of %s: %w", r.target, err)
	}
	return errors.Join(syncDir(filepath.Dir(r.target)), syncDir(r.work.path))
}

// clearUp keeps or deletes the directory that was replaced, and the work directory.
func (r *restore) clearUp() (oldDirectory string, err error) {
	for _, old := range []string{r.work.treePath(), r.work.file("old")} {
		if _, err := os.Lstat(old); err != nil || !r.opts.KeepOld {
			continue // the work directory takes it along
		}
		oldDirectory = r.target + oldSuffix
		for n := 2; ; n++ {
			if _, err := os.Lstat(oldDirectory); errors.Is(err, fs.ErrNotExist) {
				break
			}
			oldDirectory = fmt.Sprintf("%s%s.%d", r.target, oldSuffix, n)
		}
		if err := os.Rename(old, oldDirectory); err != nil {
			return "", fmt.Errorf("keep the old directory: %w", err)
		}
	}
	return oldDirectory, r.work.remove()
}

// finishSwap ends what an earlier fetch could not: when it was killed after the
// exchange, the restore is done but for clearing up. It reports whether that
// restore was the one asked for now.
func (r *restore) finishSwap() (done bool, err error) {
	state, same, err := r.work.swapState(r.digest)
	if err != nil || state == swapNotBegun || state == swapPending {
		return false, err
	}
	if state == swapDone {
		if _, err := r.clearUp(); err != nil {
			return false, err
		}
		if same {
			return true, nil
		}
		work, err := openWorkDir(r.target)
		if err != nil {
			return false, err
		}
		*r.work = *work
		return false, nil
	}
	// What lies in tree/ is the old database, and the journal does not speak of it.
	return false, errors.Join(os.Remove(r.work.file(journalName)), os.Remove(r.work.file(swapName)))
}
