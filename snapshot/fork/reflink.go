package fork

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
)

// reflink clones files. The kernel writes back what is dirty in a file before it
// clones it, so that is done before the pause, too.
var reflink = &clone{name: "reflink", fill: ficlone, try: tryReflink, flush: true}

func ficlone(_ context.Context, dst, src *os.File, _ int64) error {
	return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
}

// tryReflink clones a file of the database itself: whether that works depends on
// the filesystem, on mounts between, and on btrfs on the file's own flags.
func tryReflink(f *cloneFork, db *snapshot.Tree) error {
	const trial = "trial"
	for _, e := range db.Files {
		if e.Stamp.Size == 0 {
			continue
		}
		src, err := f.from.Open(e.Path)
		if err != nil {
			if ignoreNotExist(err) == nil {
				continue
			}
			return err
		}
		defer src.Close()
		dst, err := create(f.files, trial)
		if err != nil {
			return err
		}
		defer dst.Close()
		if err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())); err != nil {
			return fmt.Errorf("the filesystem of %s does not clone files: %w", db.Dir, err)
		}
		return f.files.Remove(trial)
	}
	return nil
}
