// Package dir is a publish.Target in a directory, which any web server can
// serve: every object is the file <base>/<key>.
//
// What Put and Swap stored survives the loss of power because they return only
// after an fsync of the temp file, its rename, and an fsync of the directory and
// of the parents of every directory that was created for it; Put of what is
// there already syncs the directory too. No test can see this.
//
// What is not an object lies below <base>/.qsync: temp files, on the same
// filesystem so that rename works, and the lock that orders swaps. A web server
// need not serve names that begin with a dot.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/internal/durable"
)

// Target is a directory. It is safe for concurrent use, also by several
// processes and, as far as the filesystem's locks reach, by several machines.
type Target struct {
	base string
	tmp  string
}

var (
	_ publish.Target    = (*Target)(nil)
	_ publish.Leftovers = (*Target)(nil)
)

// New returns the target in base, which is created if need be.
func New(base string) (*Target, error) {
	if err := durable.MkdirAll(filepath.Join(base, ".qsync", "tmp")); err != nil {
		return nil, fmt.Errorf("open target directory %s: %w", base, err)
	}
	// A listing does not follow links.
	base, err := filepath.EvalSymlinks(base)
	if err != nil {
		return nil, fmt.Errorf("open target directory: %w", err)
	}
	return &Target{base: base, tmp: filepath.Join(base, ".qsync", "tmp")}, nil
}

func (t *Target) String() string { return t.base }

// path is the file of a key.
func (t *Target) path(key string) (string, error) {
	if !publish.ValidKey(key) {
		return "", fmt.Errorf("key %.80q is not a clean relative path without dot files", key)
	}
	return filepath.Join(t.base, filepath.FromSlash(key)), nil
}

// Put implements [publish.Objects].
func (t *Target) Put(ctx context.Context, key string, body []byte) error {
	path, err := t.path(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if renewed, err := renew(path, int64(len(body))); renewed || err != nil {
		return err
	}
	return durable.WriteFile(t.tmp, path, body)
}

// Replace implements [publish.Objects].
func (t *Target) Replace(ctx context.Context, key string, body []byte) error {
	path, err := t.path(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return durable.WriteFile(t.tmp, path, body)
}

// renew makes a whole file young again. The time itself need not survive a
// power cut: who renewed it dies with it and starts over.
func renew(path string, size int64) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("%s is not a file: remove it", path)
	}
	if info.Size() != size {
		return false, nil
	}
	err = os.Chtimes(path, time.Time{}, time.Now())
	if err == nil {
		// Whoever wrote it may have been killed between rename and fsync.
		err = durable.SyncDir(filepath.Dir(path))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it was deleted meanwhile
	}
	return err == nil, err
}

// Stat implements [publish.Objects].
func (t *Target) Stat(_ context.Context, key string) (publish.Object, error) {
	path, err := t.path(key)
	if err != nil {
		return publish.Object{}, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return publish.Object{}, notFound(err)
	}
	if !info.Mode().IsRegular() {
		return publish.Object{}, fmt.Errorf("%s: %w: not a file", path, publish.ErrNotFound)
	}
	return describe(key, info), nil
}

func describe(key string, info fs.FileInfo) publish.Object {
	return publish.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}
}

// notFound gives a missing file its name among targets.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", publish.ErrNotFound, err)
	}
	return err
}

// Read implements [publish.Objects].
func (t *Target) Read(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	path, err := t.path(key)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, notFound(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// Before the memory for it is taken: the caller's length may be a stranger's.
	if offset < 0 || length < 0 || offset > info.Size()-length {
		return nil, fmt.Errorf("%s: read %d bytes at %d of %d: %w", path, length, offset, info.Size(), io.ErrUnexpectedEOF)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(io.NewSectionReader(f, offset, length), body); err != nil {
		return nil, fmt.Errorf("%s: read %d bytes at %d: %w", path, length, offset, err)
	}
	return body, nil
}

// Delete implements [publish.Objects]. Directories that it empties stay: there are
// few, and one must not vanish between another's mkdir and rename.
func (t *Target) Delete(ctx context.Context, key string) error {
	path, err := t.path(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
