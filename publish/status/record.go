package status

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/qsync/qsync/publish/internal/durable"
)

// lockTimeout is how long an operation waits for that of another process.
const lockTimeout = 10 * time.Second

// record is a database file that is open for as long as an operation takes.
type record struct {
	dir  string
	what string // is in it: runs, probes
}

// File is where the record is.
func (r *record) File() string { return filepath.Join(r.dir, r.what+".db") }

// update opens the file for a change, and makes it if need be.
func (r *record) update(change func(*bbolt.Tx) error) (err error) {
	if err := r.create(); err != nil {
		return fmt.Errorf("make the record of %s: %w", r.what, err)
	}
	// A broken page that is found by a change leaves the file locked, one that is
	// found by reading does not.
	if err := r.view(readAll); err != nil {
		return err
	}
	defer r.survive(&err)()
	db, err := bbolt.Open(r.File(), 0o644, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return r.opened(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		return fmt.Errorf("write the record of %s %s: %w", r.what, r.File(), err)
	}
	return nil
}

// create makes the file if there is none: whole or not at all, for one that a full
// disk or a kill has cut short could never be opened again.
func (r *record) create() error {
	if _, err := os.Stat(r.File()); err == nil {
		return nil
	}
	if err := durable.MkdirAll(r.dir); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(r.dir, "."+r.what+"-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	file := filepath.Join(tmp, "new")
	db, err := bbolt.Open(file, 0o644, nil)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	// Another process may have been faster, and have written to its own.
	if err := os.Link(file, r.File()); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(r.dir)
}

// view opens the file to read. Without a file nothing has been recorded yet.
func (r *record) view(look func(*bbolt.Tx) error) (err error) {
	defer r.survive(&err)()
	db, err := bbolt.Open(r.File(), 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return r.opened(err)
	}
	defer db.Close() // of a file that is only read
	if err := db.View(look); err != nil {
		return fmt.Errorf("read the record of %s %s: %w", r.what, r.File(), err)
	}
	return nil
}
