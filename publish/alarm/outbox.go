// Package alarm tells those who run the service what they must know, by mail.
//
// Nothing is lost and nothing is said twice. What was noticed is a mark in a file,
// and the mail about it an entry of the outbox there; both are written in one
// transaction, so that there is never the one without the other. An entry goes when a
// mail system has accepted the mail. If the process is killed between the two the
// mail is sent again with the same Message-ID, which mail systems drop.
//
//	Update     set a mark and post the mail about it
//	Deliver    send what waits, in order; what is not accepted waits on
//	Watch      the conditions that come and go, with marks and mails of their own
//
// The file is open only while something is read or written: `qsyncd status` reads
// it while the agent runs, and two processes wait for each other.
package alarm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// What the file holds.
var (
	marksBucket      = []byte("marks")      // what was noticed, by names of those who notice
	mailsBucket      = []byte("mails")      // what waits, by number: what is posted later has a higher one
	conditionsBucket = []byte("conditions") // what is wrong, by kind and subject
	deliveryBucket   = []byte("delivery")   // how the last delivery went, below lastKey

	lastKey = []byte("last")
)

// openTimeout is how long to wait for whoever has the file open, which is never long.
const openTimeout = 10 * time.Second

// Outbox is the file of marks and mails in a state directory.
type Outbox struct{ file string }

// In returns the outbox of a state directory. The file is made when it is first
// written to.
func In(state string) *Outbox { return &Outbox{filepath.Join(state, "alarms.db")} }

// File is where it is.
func (o *Outbox) File() string { return o.file }

// Tx is a transaction: all that it has written is there when Update has returned, or
// nothing of it.
type Tx struct{ bolt *bbolt.Tx }

// Update calls fn in a transaction. With an error nothing has changed.
func (o *Outbox) Update(fn func(*Tx) error) error {
	if err := os.MkdirAll(filepath.Dir(o.file), 0o755); err != nil {
		return fmt.Errorf("open the outbox: %w", err)
	}
	return o.with(&bbolt.Options{Timeout: openTimeout}, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{marksBucket, mailsBucket, conditionsBucket, deliveryBucket} {
				if _, err := tx.CreateBucketIfNotExists(name); err != nil {
					return err
				}
			}
			return fn(&Tx{tx})
		})
	})
}

// view calls fn in a transaction that changes nothing, and not at all if there is
// no file yet.
func (o *Outbox) view(fn func(*Tx) error) error {
	// bbolt would make the file.
	if info, err := os.Stat(o.file); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	return o.with(&bbolt.Options{Timeout: openTimeout, ReadOnly: true}, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			if tx.Bucket(deliveryBucket) == nil { // killed while it was made
				return nil
			}
			return fn(&Tx{tx})
		})
	})
}

func (o *Outbox) with(options *bbolt.Options, fn func(*bbolt.DB) error) error {
	db, err := bbolt.Open(o.file, 0o600, options)
	if err != nil {
		return fmt.Errorf("open the outbox %s: %w", o.file, err)
	}
	if err := errors.Join(fn(db), db.Close()); err != nil {
		return fmt.Errorf("outbox %s: %w", o.file, err)
	}
	return nil
}

// Mark reads what was noted under a name into v. It reports whether there is
// anything.
func (tx *Tx) Mark(name string, v any) (found bool, err error) {
	return tx.read(marksBucket, []byte(name), v)
}

// SetMark notes v under a name.
func (tx *Tx) SetMark(name string, v any) error { return tx.write(marksBucket, []byte(name), v) }

// Post lays a mail into the outbox, behind those that wait.
func (tx *Tx) Post(m *Mail) error {
	n, err := tx.bolt.Bucket(mailsBucket).NextSequence()
	if err != nil {
		return err
	}
	return tx.write(mailsBucket, binary.BigEndian.AppendUint64(nil, n), m)
}

// Mark reads the mark outside of a transaction.
func (o *Outbox) Mark(name string, v any) (found bool, err error) {
	err = o.view(func(tx *Tx) error {
		found, err = tx.Mark(name, v)
		return err
	})
	return found, err
}

func (tx *Tx) read(bucket, key []byte, v any) (found bool, err error) {
	b := tx.bolt.Bucket(bucket).Get(key)
	if b == nil {
		return false, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("read %s of %s: %w", key, bucket, err)
	}
	return true, nil
}

func (tx *Tx) write(bucket, key []byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.bolt.Bucket(bucket).Put(key, b)
}

// EachMark calls fn for every name that begins with prefix, in order, until fn
// returns an error. fn changes nothing; v is what [Tx.SetMark] was given, as JSON.
func (tx *Tx) EachMark(prefix string, fn func(name string, v []byte) error) error {
	c := tx.bolt.Bucket(marksBucket).Cursor()
	for key, value := c.Seek([]byte(prefix)); bytes.HasPrefix(key, []byte(prefix)) && key != nil; key, value = c.Next() {
		if err := fn(string(key), value); err != nil {
			return err
		}
	}
	return nil
}

// Unmark forgets a mark.
func (tx *Tx) Unmark(name string) error { return tx.bolt.Bucket(marksBucket).Delete([]byte(name)) }

// EachMark is [Tx.EachMark] outside of a transaction.
func (o *Outbox) EachMark(prefix string, fn func(name string, v []byte) error) error {
	return o.view(func(tx *Tx) error { return tx.EachMark(prefix, fn) })
}
