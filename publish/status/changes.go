package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Change is something that the agent works with, and that is not as it was before.
type Change struct {
	At   time.Time `json:"at"` // when it was noticed
	What string    `json:"what"`
	From string    `json:"from,omitempty"` // empty if nothing was known before
	To   string    `json:"to"`
}

// What changes.
const (
	ChangeAgent         = "agent"         // its version
	ChangeConfiguration = "configuration" // its digest
	ChangeNode          = "node of "      // and the channel: its version
)

// Changes is the record of what an agent has worked with. It is safe for concurrent
// use, by several processes too.
type Changes struct{ record }

// ChangesIn returns the record in a state directory.
func ChangesIn(stateDir string) *Changes { return &Changes{record{stateDir, "changes"}} }

// changesBucket holds number → Change in JSON.
var changesBucket = []byte("changes")

// Note records what something is now. It writes nothing if it was that before.
func (c *Changes) Note(at time.Time, what, is string) error {
	all, err := c.all()
	if err != nil {
		return err
	}
	change := Change{At: at.Round(0), What: what, To: is}
	for _, before := range all {
		if before.What == what {
			change.From = before.To
		}
	}
	if change.From == is {
		return nil
	}
	return c.update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(changesBucket)
		if err != nil {
			return err
		}
		if err := trimChanges(b, at); err != nil {
			return err
		}
		id, err := b.NextSequence()
		if err != nil {
			return err
		}
		v, err := json.Marshal(change)
		if err != nil {
			return err
		}
		return b.Put(key(id), v)
	})
}

// Between returns the changes of a time, to not included, oldest first.
func (c *Changes) Between(from, to time.Time) ([]Change, error) {
	all, err := c.all()
	return slices.DeleteFunc(all, func(c Change) bool { return c.At.Before(from) || !c.At.Before(to) }), err
}

func (c *Changes) all() ([]Change, error) {
	var all []Change
	err := c.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(changesBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			change, err := parseChange(k, v)
			all = append(all, change)
			return err
		})
	})
	return all, err
}

func parseChange(k, v []byte) (c Change, err error) {
	if err := json.Unmarshal(v, &c); err != nil {
		return c, fmt.Errorf("change %x: %w", k, err)
	}
	return c, nil
}

// trimChanges forgets what is old, but for how everything is since.
func trimChanges(b *bbolt.Bucket, now time.Time) error {
	newest := map[string]bool{}
	var old [][]byte // first: a change would confuse the cursor
	c := b.Cursor()
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		change, err := parseChange(k, v)
		if err != nil {
			return err
		}
		if newest[change.What] && now.Sub(change.At) > maxAge {
			old = append(old, bytes.Clone(k))
		}
		newest[change.What] = true
	}
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
