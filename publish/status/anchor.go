package status

import (
	"encoding/json"
	"time"

	"go.etcd.io/bbolt"
)

// Anchor is where the slots of a channel's schedule are counted from.
type Anchor struct {
	Schedule string    `json:"schedule"` // another one is counted anew
	From     time.Time `json:"from"`     // no slot up to then needs to be served
}

// Anchor returns the anchor of a channel; its zero value if there is none.
func (r *Runs) Anchor(channel string) (a Anchor, err error) {
	err = r.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(anchorsBucket)
		if b == nil {
			return nil
		}
		if v := b.Get([]byte(channel)); v != nil {
			return json.Unmarshal(v, &a)
		}
		return nil
	})
	return a, err
}

// SetAnchor replaces the anchor of a channel.
func (r *Runs) SetAnchor(channel string, a Anchor) error {
	v, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return r.update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(anchorsBucket)
		if err != nil {
			return err
		}
		return b.Put([]byte(channel), v)
	})
}
