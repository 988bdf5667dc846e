package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/qsync/qsync/manifest"
)

// inPlaceMarker lies in a target while its files are being repaired.
const inPlaceMarker = manifest.ReservedPrefix + "-restore-in-progress"

const markerText = `qsync is restoring a snapshot into this directory and was not finished.
The database is not usable. Run the same "qsync fetch … --in-place" again to finish.
`

// guarded reports whether the target is behind the guard of an earlier run.
func (r *restore) guarded() bool {
	_, err := os.Lstat(filepath.Join(r.target, inPlaceMarker))
	return err == nil
}

// guard keeps a node from opening the target until the restore is finished. No
// engine knows qsync's marker, so each database also gets a directory where its
// engine wants to create its lock file, and loses the files that it is entered
// by: without the first, a node would take a database without the second for
// a new one.
func (r *restore) guard() error {
	root := r.tree.root
	if err := root.WriteFile(inPlaceMarker, []byte(markerText), 0o644); err != nil {
		return fmt.Errorf("guard the target: %w", noSpace(err))
	}
	if err := syncDir(r.target); err != nil {
		return err
	}
	databases, err := r.databases()
	if err != nil {
		return fmt.Errorf("guard the target: %w", err)
	}
	for dir := range databases {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("guard the target: %w", err)
		}
		if r.kind.Lock == "" {
			continue
		}
		lock := path.Join(dir, r.kind.Lock)
		if info, err := root.Lstat(lock); err == nil && !info.IsDir() {
			if err := root.Remove(lock); err != nil {
				return fmt.Errorf("guard the target: %w", err)
			}
		}
		if err := root.MkdirAll(path.Join(lock, inPlaceMarker), 0o755); err != nil {
			return fmt.Errorf("guard the target: %w", err)
		}
		if err := syncDir(filepath.Join(r.target, filepath.FromSlash(dir))); err != nil {
			return err
		}
	}
	if err := r.removeEntries(); err != nil {
		return fmt.Errorf("guard the target: %w", err)
	}
	return r.prepareFiles()
}

// databases are the directories of the target that hold a database, now or
// when the restore is finished.
func (r *restore) databases() (map[string]bool, error) {
	dirs := map[string]bool{}
	for i := range r.table.index.Files {
		if p := r.table.index.Files[i].Path; r.kind.IsEntry(p) {
			dirs[path.Dir(p)] = true
		}
	}
	err := fs.WalkDir(r.tree.root.FS(), ".", func(p string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && r.kind.IsEntry(p) {
			dirs[path.Dir(p)] = true
		}
		return err
	})
	return dirs, err
}

func (r *restore) removeEntries() error {
	return fs.WalkDir(r.tree.root.FS(), ".", func(p string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && r.kind.IsEntry(p) {
			return r.tree.root.Remove(p)
		}
		return err
	})
}

// finishInPlace takes the guard away. The order matters: everything else first
// and durable, then the files that the databases are entered by, then the
// locks, then the marker.
func (r *restore) finishInPlace(ctx context.Context) error {
	if err := r.ledger.flush(); err != nil {
		return err
	}
	databases, err := r.databases()
	if err != nil {
		return err
	}
	guards := map[string]bool{inPlaceMarker: true}
	for dir := range databases {
		if r.kind.Lock != "" {
			lock := path.Join(dir, r.kind.Lock)
			guards[lock], guards[path.Join(lock, inPlaceMarker)] = true, true
			for d := dir; d != "."; d = path.Dir(d) {
				guards[d] = true
			}
		}
	}
	if err := r.tree.removeExtras(func(p string) bool { return guards[p] }); err != nil {
		return err
	}
	if err := r.fetch(ctx, r.kind.IsEntry); err != nil {
		return err
	}
	if err := r.ledger.flush(); err != nil {
		return err
	}
	owner, err := ownershipOf(filepath.Dir(r.target))
	if err != nil {
		return err
	}
	if err := r.tree.seal(owner); err != nil {
		return err
	}
	for dir := range databases {
		if r.kind.Lock == "" {
			continue
		}
		lock := path.Join(dir, r.kind.Lock)
		if err := r.tree.root.RemoveAll(lock); err != nil {
			return fmt.Errorf("take the guard away: %w", err)
		}
		if err := syncDir(filepath.Join(r.target, filepath.FromSlash(dir))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// A database that the snapshot does not have is gone now, with its guard.
	if err := r.tree.removeExtras(func(p string) bool { return p == inPlaceMarker }); err != nil {
		return err
	}
	if err := r.tree.root.Remove(inPlaceMarker); err != nil {
		return fmt.Errorf("take the guard away: %w", err)
	}
	if err := syncDir(r.target); err != nil {
		return err
	}
	return r.work.remove()
}
