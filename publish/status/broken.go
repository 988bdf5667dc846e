package status

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// BrokenError says that the record cannot be read any more.
type BrokenError struct {
	What string // is in it
	File string
	Err  error
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("the record of %s %s is broken: %s", e.What, e.File, e.Err)
}
func (e *BrokenError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *BrokenError) Hint() string {
	return "move the file away: a new record is begun, and what is counted begins then"
}

// survive makes an error of the panic with which bbolt answers a broken page, and of
// the fault when that leads it out of the file. What it returns is to be deferred.
func (r *record) survive(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if broken := recover(); broken != nil {
			*err = &BrokenError{r.what, r.File(), fmt.Errorf("%v", broken)}
		}
	}
}

// opened is why the file could not be opened.
func (r *record) opened(err error) error {
	var system *fs.PathError
	if errors.Is(err, bolterrors.ErrTimeout) || errors.As(err, &system) && system.Op == "open" {
		return fmt.Errorf("open the record of %s %s: %w", r.what, r.File(), err)
	}
	return &BrokenError{r.what, r.File(), err}
}

// readAll reads all that is recorded.
func readAll(tx *bbolt.Tx) error {
	return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return readBucket(b) })
}

func readBucket(b *bbolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if v == nil {
			return readBucket(b.Bucket(k))
		}
		return nil
	})
}
