// Package durable writes files that are still there after a power cut: temp
// file, fsync, rename, fsync of the directory. A rename alone is not enough: it
// is a change of the directory, and lost with it.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/renameio/v2"
)

// Modes of what is written: a web server under another user must be able to
// read it, whatever the umask.
const (
	fileMode = 0o644
	dirMode  = 0o755
)

// WriteFile replaces the file at path, or creates it, with its parents. Readers
// see the old or the new content, never a part. The temp file lies in tmp,
// which must be on the same filesystem and must exist.
func WriteFile(tmp, path string, content []byte) error {
	return Write(tmp, path, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
}

// Write is WriteFile for content that fill writes.
func Write(tmp, path string, fill func(f *os.File) error) error {
	if err := MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(tmp), renameio.WithStaticPermissions(fileMode))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if err := fill(f.File); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// creating is held from mkdir to fsync, so that nobody in this process takes a
// directory for durable that another goroutine has only just made.
var creating sync.Mutex

// MkdirAll creates a directory and its parents durably.
func MkdirAll(dir string) error {
	creating.Lock()
	defer creating.Unlock()
	return mkdirAll(filepath.Clean(dir))
}

func mkdirAll(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("create directory %s: a file of that name is in the way", dir)
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if err := mkdirAll(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, dirMode); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	} else if err := os.Chmod(dir, dirMode); err != nil {
		return err
	}
	// Also when another process just created it: their fsync may still be to come.
	return SyncDir(parent)
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
