package fork

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot"
)

// overlay mounts a directory that shows the view, and keeps what is written there
// in another one.
func (v *view) overlay(ctx context.Context, top string, db *snapshot.Tree) (string, error) {
	handles := make(map[string]*os.File)
	for _, name := range []string{"upper", "work", "merged"} {
		dir := filepath.Join(top, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", err
		}
		handle, err := os.Open(dir)
		if err != nil {
			return "", err
		}
		defer handle.Close()
		handles[name] = handle
	}
	lower, err := v.files.Open(".")
	if err != nil {
		return "", err
	}
	defer lower.Close()
	if err := v.dir.plan(step{Unmount: filepath.Join(copyDirectory, "merged")}); err != nil {
		return "", err
	}
	// By handle, for in these options some characters of a path mean something else.
	options := fmt.Sprintf("lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d",
		lower.Fd(), handles["upper"].Fd(), handles["work"].Fd())
	merged := filepath.Join(top, "merged")
	if err := unix.Mount("qsync", merged, "overlay", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
		return "", fmt.Errorf("mount an overlay of the fork: %w", err)
	}
	return filepath.Join(v.dir.named(copyDirectory), "merged"), v.asAtTheCut(ctx, merged, db)
}

// asAtTheCut makes what an overlay shows the files of the database at the cut, and
// nothing else. A linked file that the node appends to goes on growing below: only as
// a file of its own it keeps its length.
func (v *view) asAtTheCut(ctx context.Context, merged string, db *snapshot.Tree) error {
	root, err := os.OpenRoot(merged)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, p := range db.Foreign {
		if err := ignoreNotExist(root.RemoveAll(p)); err != nil {
			return err
		}
	}
	return each(ctx, db.Files, func(_ context.Context, e *snapshot.Entry) error {
		st, err := root.Lstat(e.Path)
		if err != nil {
			return err
		}
		if e.Class != database.Appended && st.Size() == e.Stamp.Size {
			return nil
		}
		f, err := root.OpenFile(e.Path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return cutOff(f, e)
	})
}
