package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/qsync/qsync/publish"
)

// List implements [publish.Objects].
func (t *Target) List(ctx context.Context, prefix string, fn func(publish.Object) error) error {
	start := path.Dir(prefix + "x") // the prefix may end within a name
	if start != "." && !publish.ValidKey(start) {
		return nil
	}
	return walk(ctx, filepath.Join(t.base, filepath.FromSlash(start)), func(file string, info fs.FileInfo) error {
		rel, err := filepath.Rel(t.base, file)
		if err != nil {
			return err
		}
		if key := filepath.ToSlash(rel); strings.HasPrefix(key, prefix) {
			return fn(describe(key, info))
		}
		return nil
	})
}

// Leftovers implements [publish.Leftovers]: temp files of a Put or Swap that
// did not come to its end.
func (t *Target) Leftovers(ctx context.Context, before time.Time, remove bool, fn func(publish.Object) error) error {
	entries, err := os.ReadDir(t.tmp)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() || !info.ModTime().Before(before) {
			continue
		}
		if err := errors.Join(ctx.Err(), fn(describe(path.Join(".qsync/tmp", entry.Name()), info))); err != nil {
			return err
		}
		if remove {
			if err := os.Remove(filepath.Join(t.tmp, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// walk calls fn for the files below a directory, apart from dot files. What
// vanishes meanwhile is skipped.
func walk(ctx context.Context, start string, fn func(file string, info fs.FileInfo) error) error {
	return filepath.WalkDir(start, func(file string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if file != start && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			// A head behind it would be overlooked, and what it names deleted.
			return fmt.Errorf("%s is a symbolic link: put what it points to in its place", file)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return fn(file, info)
	})
}
