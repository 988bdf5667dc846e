package fetcher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest"
)

// tree is the directory that is being filled. Every path goes through an
// [os.Root]: an index, or a link that somebody left in the directory, cannot
// lead out of it.
type tree struct {
	path  string
	root  *os.Root
	table *table
	// fresh files were made by this run and have been written by it alone:
	// what has not been written is a hole.
	fresh []bool
}

func openTree(dir string, t *table) (*tree, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return &tree{path: dir, root: root, table: t, fresh: make([]bool, len(t.index.Files))}, nil
}

func (t *tree) close() error { return t.root.Close() }

func (t *tree) name(file int) string { return t.table.index.Files[file].Path }

// intact reports whether a file of the tree is as a restore leaves it, so that what
// its journal says of the chunks may hold.
func (t *tree) intact(f *manifest.File) bool {
	info, err := t.root.Lstat(f.Path)
	return err == nil && info.Mode().IsRegular() && info.Size() == f.Size && linkCount(info) == 1
}

// prepare makes the files of the index with their sizes. Before it makes one, lost
// is told all those that had not been there: nothing that a journal says of them holds.
func (t *tree) prepare(lost func(files []int) error) error {
	var missing []int
	for i := range t.table.index.Files {
		f := &t.table.index.Files[i]
		info, err := t.root.Lstat(f.Path)
		// Writing into a file with two names would change it under the other one too.
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && linkCount(info) > 1 {
			t.fresh[i] = true
			missing = append(missing, i)
		}
	}
	if err := lost(missing); err != nil {
		return err
	}
	made := map[string]bool{".": true}
	for i := range t.table.index.Files {
		f := &t.table.index.Files[i]
		if dir := path.Dir(f.Path); !made[dir] {
			if err := t.root.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("create directory: %w", err)
			}
			made[dir] = true
		}
		if err := t.prepareFile(i, f); err != nil {
			return fmt.Errorf("prepare %s: %w", f.Path, err)
		}
	}
	return nil
}

func (t *tree) prepareFile(i int, f *manifest.File) error {
	info, err := t.root.Lstat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("there is something that is no regular file (%s): move it away", info.Mode().Type())
	case t.fresh[i]:
		if err := t.root.Remove(f.Path); err != nil {
			return err
		}
	case info.Size() == f.Size:
		return nil
	}
	out, err := t.root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(out.Truncate(f.Size), out.Close())
}

func (t *tree) open(file int) (*os.File, error) {
	return t.root.OpenFile(t.name(file), os.O_RDWR, 0)
}

// writeChunk puts a verified chunk in its place. Zeros become a hole.
func (t *tree) writeChunk(out *os.File, file, chunk int, data []byte) error {
	offset := int64(chunk) * manifest.ChunkSize
	if isZero(data) {
		return t.writeHole(out, file, offset, int64(len(data)))
	}
	if _, err := out.WriteAt(data, offset); err != nil {
		return fmt.Errorf("write %s at %d: %w", t.name(file), offset, noSpace(err))
	}
	return nil
}

func (t *tree) writeHole(out *os.File, file int, offset, length int64) error {
	if t.fresh[file] {
		return nil
	}
	err := unix.Fallocate(int(out.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, length)
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = out.WriteAt(make([]byte, length), offset)
	}
	if err != nil {
		return fmt.Errorf("clear %s at %d: %w", t.name(file), offset, noSpace(err))
	}
	return nil
}

func isZero(b []byte) bool {
	// Most chunks are told from zeros by their first word.
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// noSpace makes an error of a full disk recognisable.
func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// extras are the paths in the tree that the index does not name, the deepest
// first; directories that hold listed files are not extra.
func (t *tree) extras() ([]string, error) { return extraPaths(t.root, t.table.index) }

func extraPaths(root *os.Root, x *manifest.Index) ([]string, error) {
	listed := map[string]bool{".": true}
	for i := range x.Files {
		for p := x.Files[i].Path; !listed[p]; p = path.Dir(p) {
			listed[p] = true
		}
	}
	var extra []string
	err := fs.WalkDir(root.FS(), ".", func(p string, _ fs.DirEntry, err error) error {
		if err == nil && !listed[p] {
			extra = append(extra, p)
		}
		return err
	})
	slices.SortFunc(extra, func(a, b string) int { return strings.Compare(b, a) })
	return extra, err
}

// removeExtras deletes what the index does not name, but for what keep says.
func (t *tree) removeExtras(keep func(path string) bool) error {
	extra, err := t.extras()
	if err != nil {
		return fmt.Errorf("look for unlisted files in %s: %w", t.path, err)
	}
	for _, p := range extra {
		if keep != nil && keep(p) {
			continue
		}
		if err := t.root.Remove(p); err != nil {
			return fmt.Errorf("remove unlisted file: %w", err)
		}
	}
	return nil
}

// seal gives every file its mode and everything its owner, and makes the names
// durable. The content has been synced before.
func (t *tree) seal(owner ownership) error {
	dirs := map[string]bool{".": true}
	for i := range t.table.index.Files {
		f := &t.table.index.Files[i]
		if err := t.root.Chmod(f.Path, fs.FileMode(f.Mode)); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
		if err := owner.give(t.root, f.Path); err != nil {
			return err
		}
		for d := path.Dir(f.Path); !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	for d := range dirs {
		if err := t.root.Chmod(d, owner.dirMode); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
		if err := owner.give(t.root, d); err != nil {
			return err
		}
		f, err := t.root.Open(d)
		if err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync directory %s: %w", d, err)
		}
	}
	return nil
}
