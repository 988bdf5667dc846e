package status

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// What is kept of each channel: the newest runs, and none older than that.
const (
	maxRuns = 1000
	maxAge  = 400 * 24 * time.Hour
)

// The buckets. Runs are one bucket for each channel, and in it id → Run in JSON;
// anchors are channel → Anchor in JSON, totals channel → Totals in JSON.
var (
	runsBucket    = []byte("runs")
	anchorsBucket = []byte("anchors")
	totalsBucket  = []byte("totals")
)

// Runs is the record of an agent's runs. It is safe for concurrent use, by
// several processes too.
type Runs struct{ record }

// RunsIn returns the record in a state directory.
func RunsIn(stateDir string) *Runs { return &Runs{record{stateDir, "runs"}} }

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
		err = counted(tx, b, run.Channel, func() ([]Run, error) {
			killed, err := markKilled(b)
			return killed, errors.Join(err, trim(b, run.Start))
		})
		if err != nil {
			return err
		}
		if run.ID, err = all.NextSequence(); err != nil {
			return err
		}
		return put(b, run)
	})
	return run, err
}

// End records what became of a run, once.
func (r *Runs) End(run Run) error {
	return r.update(func(tx *bbolt.Tx) error {
		b := channelBucket(tx, run.Channel)
		if b == nil {
			return fmt.Errorf("channel %s has no runs", run.Channel)
		}
		return counted(tx, b, run.Channel, func() ([]Run, error) { return []Run{run}, put(b, run) })
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
			return counted(tx, b, channel, func() ([]Run, error) { return markKilled(b) })
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

// Channels returns the names of the channels that there are runs of.
func (r *Runs) Channels() ([]string, error) {
	var names []string
	err := r.view(func(tx *bbolt.Tx) error {
		all := tx.Bucket(runsBucket)
		if all == nil {
			return nil
		}
		return all.ForEachBucket(func(name []byte) error {
			names = append(names, string(name))
			return nil
		})
	})
	return names, err
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

// markKilled returns the runs that it marks. It looks at the newest ones only: each run
// that starts sees to those before it.
func markKilled(b *bbolt.Bucket) (killed []Run, err error) {
	c := b.Cursor() // to the end first: a change would confuse it
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		run, err := parse(k, v)
		if err != nil {
			return nil, err
		}
		if run.Outcome != Running {
			break
		}
		run.Outcome = Interrupted
		run.Error = "it ended without a word: the program was killed, or the machine went down"
		killed = append(killed, run)
	}
	for _, run := range killed {
		if err := put(b, run); err != nil {
			return nil, err
		}
	}
	return killed, nil
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
