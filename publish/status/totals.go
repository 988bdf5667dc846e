package status

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
)

// Totals are what the runs of a channel that have ended add up to, also those that are
// no longer kept. They never shrink.
type Totals struct {
	Runs map[Outcome]int64 `json:"runs"`

	// Of the runs that have published.
	UploadedBytes int64 `json:"uploaded_bytes"` // compressed
	FilesBytes    int64 `json:"files_bytes"`    // sent to targets of files
}

func (t *Totals) add(run Run) {
	if run.Outcome == Running {
		return
	}
	if t.Runs == nil {
		t.Runs = map[Outcome]int64{}
	}
	t.Runs[run.Outcome]++
	if run.Outcome != Published {
		return
	}
	t.UploadedBytes += run.UploadedBytes
	t.FilesBytes += run.FilesBytes
}

// Totals returns those of a channel.
func (r *Runs) Totals(channel string) (t Totals, err error) {
	err = r.view(func(tx *bbolt.Tx) error {
		if b := channelBucket(tx, channel); b != nil {
			t, err = totals(tx, b, channel)
			return err
		}
		return nil
	})
	return t, err
}

// totals are those on record. A record of before they were kept has none: there they
// are what the runs in it add up to.
func totals(tx *bbolt.Tx, runs *bbolt.Bucket, channel string) (t Totals, err error) {
	if b := tx.Bucket(totalsBucket); b != nil {
		if v := b.Get([]byte(channel)); v != nil {
			if err := json.Unmarshal(v, &t); err != nil {
				return t, fmt.Errorf("totals of %s: %w", channel, err)
			}
			return t, nil
		}
	}
	err = runs.ForEach(func(k, v []byte) error {
		run, err := parse(k, v)
		t.add(run)
		return err
	})
	return t, err
}

func putTotals(tx *bbolt.Tx, channel string, t Totals) error {
	b, err := tx.CreateBucketIfNotExists(totalsBucket)
	if err != nil {
		return err
	}
	v, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return b.Put([]byte(channel), v)
}

// counted makes a change of the runs of a channel that lets some of them end, or
// forgets old ones, and adds up those that have ended by it.
func counted(tx *bbolt.Tx, runs *bbolt.Bucket, channel string, change func() (ended []Run, err error)) error {
	t, err := totals(tx, runs, channel)
	if err != nil {
		return err
	}
	ended, err := change()
	if err != nil {
		return err
	}
	for _, run := range ended {
		t.add(run)
	}
	return putTotals(tx, channel, t)
}
