// Package status keeps what an agent has done, for those who look after it.
//
// Every run is recorded before it touches anything and again when it has ended,
// in one small database file. The file is opened for each operation and locked only
// for as long as that takes: one process writes while others read, and a record is
// durable when the call returns.
package status

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/qsync/qsync/publish/internal/durable"
)

// What is kept of each channel: the newest runs, and none older than that.
const (
	maxRuns = 1000
	maxAge  = 400 * 24 * time.Hour
)

// lockTimeout is how long an operation waits for that of another process.
const lockTimeout = 10 * time.Second

// The buckets. Runs are one bucket for each channel, and in it id → Run in JSON;
// anchors are channel → Anchor in JSON.
var (
	runsBucket    = []byte("runs")
	anchorsBucket = []byte("anchors")
)

// Runs is the record of an agent's runs. It is safe for concurrent use, by
// several processes too.
type Runs struct {
	dir string
}

// In returns the record in a state directory.
func In(stateDir string) *Runs { return &Runs{dir: stateDir} }

// File is where the record is.
func (r *Runs) File() string { return filepath.Join(r.dir, "runs.db") }

// Start records that a run has begun, and returns it with its ID. The caller holds
// the channel: a run of it that is still recorded as running was killed, and is
// marked so.
func (r *Runs) Start(run Run) (Run, error) {
	run.Outcome = Running
	err := r.update(func(tx *bbolt.Tx) error {
		all, err := tx.CreateBucketIfNotExists(runsBucket)
		if err != nil {
			return err
		}
		b, err := all.CreateBucketIfNotExists([]byte(run.Channel))
		if err != nil {
			return err
		}
		if err := errors.Join(markKilled(b), trim(b, run.Start)); err != nil {
			return err
		}
		if run.ID, err = all.NextSequence(); err != nil {
			return err
		}
		return put(b, run)
	})
	return run, err
}

// End records what became of a run.
func (r *Runs) End(run Run) error {
	return r.update(func(tx *bbolt.Tx) error {
		b := channelBucket(tx, run.Channel)
		if b == nil {
			return fmt.Errorf("channel %s has no runs", run.Channel)
		}
		return put(b, run)
	})
}

// MarkKilled marks the runs of a channel that are recorded as running as
// interrupted. The caller holds the channel, so that none is under way.
func (r *Runs) MarkKilled(channel string) error {
	runs, err := r.Last(channel, 1)
	if err != nil || len(runs) == 0 || runs[0].Outcome != Running {
		return err // nothing to write
	}
	return r.update(func(tx *bbolt.Tx) error {
		if b := channelBucket(tx, channel); b != nil {
			return markKilled(b)
		}
		return nil
	})
}

// Last returns up to n runs of a channel, newest first.
func (r *Runs) Last(channel string, n int) ([]Run, error) {
	var runs []Run
	err := r.view(func(tx *bbolt.Tx) error {
		b := channelBucket(tx, channel)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.Last(); k != nil && len(runs) < n; k, v = c.Prev() {
			run, err := parse(k, v)
			if err != nil {
				return err
			}
			runs = append(runs, run)
		}
		return nil
	})
	return runs, err
}

// LastPublished returns the newest published run of a channel, if there is one.
func (r *Runs) LastPublished(channel string) (last Run, ok bool, err error) {
	err = r.view(func(tx *bbolt.Tx) error {
		b := channelBucket(tx, channel)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.Last(); k != nil && !ok; k, v = c.Prev() {
			run, err := parse(k, v)
			if err != nil {
				return err
			}
			if run.Outcome == Published {
				last, ok = run, true
			}
		}
		return nil
	})
	return last, ok, err
}

// update opens the file for a change, and makes it if need be.
func (r *Runs) update(change func(*bbolt.Tx) error) (err error) {
	if err := r.create(); err != nil {
		return fmt.Errorf("make the record of runs: %w", err)
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
		return fmt.Errorf("write the record of runs %s: %w", r.File(), err)
	}
	return nil
}

// create makes the file if there is none: whole or not at all, for one that a full
// disk or a kill has cut short could never be opened again.
func (r *Runs) create() error {
	if _, err := os.Stat(r.File()); err == nil {
		return nil
	}
	if err := durable.MkdirAll(r.dir); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(r.dir, ".runs-*")
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
func (r *Runs) view(look func(*bbolt.Tx) error) (err error) {
	defer r.survive(&err)()
	db, err := bbolt.Open(r.File(), 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return r.opened(err)
	}
	defer db.Close() // of a file that is only read
	if err := db.View(look); err != nil {
		return fmt.Errorf("read the record of runs %s: %w", r.File(), err)
	}
	return nil
}

func channelBucket(tx *bbolt.Tx, channel string) *bbolt.Bucket {
	all := tx.Bucket(runsBucket)
	if all == nil {
		return nil
	}
	return all.Bucket([]byte(channel))
}

func put(b *bbolt.Bucket, run Run) error {
	v, err := json.Marshal(run)
	if err != nil {
		return err
	}
	return b.Put(key(run.ID), v)
}

// key makes the order of the keys that of the runs.
func key(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

func parse(k, v []byte) (run Run, err error) {
	if err := json.Unmarshal(v, &run); err != nil {
		return run, fmt.Errorf("run %x: %w", k, err)
	}
	return run, nil
}

// markKilled looks at the newest runs only: each run that starts sees to those
// before it.
func markKilled(b *bbolt.Bucket) error {
	var killed []Run // first: a change would confuse the cursor
	c := b.Cursor()
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		run, err := parse(k, v)
		if err != nil {
			return err
		}
		if run.Outcome != Running {
			break
		}
		killed = append(killed, run)
	}
	for _, run := range killed {
		run.Outcome = Interrupted
		run.Error = "it ended without a word: the program was killed, or the machine went down"
		if err := put(b, run); err != nil {
			return err
		}
	}
	return nil
}

// trim makes room for one more run.
func trim(b *bbolt.Bucket, now time.Time) error {
	var old [][]byte
	n := 1
	c := b.Cursor()
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		run, err := parse(k, v)
		if err != nil {
			return err
		}
		if n++; n > maxRuns || now.Sub(run.Start) > maxAge {
			old = append(old, k)
		}
	}
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
