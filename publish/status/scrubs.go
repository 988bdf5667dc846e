package status

import (
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Damage is an object that is not what was published, or not there.
type Damage struct {
	Target   string    `json:"target"` // as people know it, without credentials
	Key      string    `json:"key"`
	Wrong    string    `json:"wrong"`              // what is wrong with it
	Since    time.Time `json:"since"`              // when that was first seen
	Versions []string  `json:"versions,omitempty"` // that need it: channel, a space, version
	Mended   time.Time `json:"mended,omitzero"`    // zero while it is broken

	// The object as it was seen, both zero if it was not there.
	Size     int64     `json:"size,omitempty"` // bytes
	Modified time.Time `json:"modified,omitzero"`
}

func (d *Damage) id() []byte { return []byte(d.Target + "\x00" + d.Key) }

// Cursor is how far a pass has come on a target: through the objects up to Key, or
// through Key up to an offset in bytes.
type Cursor struct {
	Key    string `json:"key,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Done   bool   `json:"done,omitempty"` // all of the target was read

	// What the pass has read there.
	Objects int64 `json:"objects,omitempty"`
	Bytes   int64 `json:"read_bytes,omitempty"`
}

// Pass is one look at all that is published. What is not known is zero.
type Pass struct {
	Channels []string          `json:"channels"`
	Start    time.Time         `json:"start"`
	End      time.Time         `json:"end,omitzero"`    // zero until all was read
	Before   time.Time         `json:"before,omitzero"` // when the one before it that has ended did
	Looked   time.Time         `json:"looked,omitzero"` // when it was last seen what is there
	Read     int64             `json:"read_bytes"`
	Total    int64             `json:"total_bytes"`     // to be read, as far as known
	Error    string            `json:"error,omitempty"` // why it does not go on everywhere
	Cursors  map[string]Cursor `json:"cursors,omitempty"`
}

// LastEnd is when a pass has ended last, this one or one before it; zero is never.
func (p *Pass) LastEnd() time.Time {
	if p.End.IsZero() {
		return p.Before
	}
	return p.End
}

// Scrubs is the record of how far scrubs have come, and of the damage that they have
// found. It is safe for concurrent use, by several processes too.
type Scrubs struct{ record }

// ScrubsIn returns the record in a state directory.
func ScrubsIn(stateDir string) *Scrubs { return &Scrubs{record{stateDir, "scrubs"}} }

// The buckets. Passes are their name → Pass in JSON; damage is target, 0 byte, key →
// Damage in JSON.
var (
	passesBucket = []byte("passes")
	damageBucket = []byte("damage")
)

// Of damage so much is kept, and what is mended for so long.
const (
	MaxDamage  = 10_000
	keepMended = 7 * 24 * time.Hour
)

// Pass returns the pass of a name; its zero value if there is none.
func (s *Scrubs) Pass(name string) (p Pass, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(passesBucket)
		if b == nil {
			return nil
		}
		if v := b.Get([]byte(name)); v != nil {
			return json.Unmarshal(v, &p)
		}
		return nil
	})
	return p, err
}

// Save records how far a pass has come, together with what it has found to be broken
// and what to be whole, or needed no more. Damage that is known already keeps its age.
func (s *Scrubs) Save(name string, p Pass, now time.Time, broken, whole []Damage) error {
	return s.update(func(tx *bbolt.Tx) error {
		passes, err := tx.CreateBucketIfNotExists(passesBucket)
		if err != nil {
			return err
		}
		damage, err := tx.CreateBucketIfNotExists(damageBucket)
		if err != nil {
			return err
		}
		for i := range whole {
			if err := damage.Delete(whole[i].id()); err != nil {
				return err
			}
		}
		if err := addDamage(damage, broken, now); err != nil {
			return err
		}
		v, err := json.Marshal(p)
		if err != nil {
			return err
		}
		return passes.Put([]byte(name), v)
	})
}

func addDamage(b *bbolt.Bucket, broken []Damage, now time.Time) error {
	all, err := readDamage(b)
	if err != nil {
		return err
	}
	known := map[string]Damage{}
	for _, d := range all {
		if !d.Mended.IsZero() && now.Sub(d.Mended) > keepMended {
			if err := b.Delete(d.id()); err != nil {
				return err
			}
			continue
		}
		known[string(d.id())] = d
	}
	for _, d := range broken {
		before, again := known[string(d.id())]
		if !again && len(known) >= MaxDamage {
			continue
		}
		if again && before.Mended.IsZero() {
			d.Since = before.Since
		}
		known[string(d.id())] = d
		v, err := json.Marshal(d)
		if err != nil {
			return err
		}
		if err := b.Put(d.id(), v); err != nil {
			return err
		}
	}
	return nil
}

// Mend records that damage which is on record was mended.
func (s *Scrubs) Mend(mended []Damage, now time.Time) error {
	return s.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(damageBucket)
		if b == nil {
			return nil
		}
		for _, d := range mended {
			if b.Get(d.id()) == nil {
				continue // a scrub has found it whole
			}
			d.Mended = now.UTC()
			v, err := json.Marshal(d)
			if err != nil {
				return err
			}
			if err := b.Put(d.id(), v); err != nil {
				return err
			}
		}
		return nil
	})
}

// Damage returns what is known to be broken, and what was mended lately, by target
// and key. There is no more than MaxDamage of it.
func (s *Scrubs) Damage() (all []Damage, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(damageBucket); b != nil {
			all, err = readDamage(b)
		}
		return err
	})
	return all, err
}

func readDamage(b *bbolt.Bucket) (all []Damage, err error) {
	err = b.ForEach(func(k, v []byte) error {
		var d Damage
		if err := json.Unmarshal(v, &d); err != nil {
			return fmt.Errorf("damage %q: %w", k, err)
		}
		all = append(all, d)
		return nil
	})
	return all, err
}
