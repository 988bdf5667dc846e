package ipfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/libp2p/go-libp2p/core/crypto"
	"go.etcd.io/bbolt"

	"github.com/qsync/qsync/manifest/unixfs"
)

// names are the names on IPNS that this node has published, each of a channel.
type names struct {
	identity *Identity
	state    *bbolt.DB

	mu      sync.Mutex
	records map[ipns.Name]*nameRecord
}

// nameRecord is what a name stands for.
type nameRecord struct {
	channel  string
	lifetime time.Duration // that it is renewed for
	raw      []byte
	parsed   *ipns.Record
}

func openNames(identity *Identity, state *bbolt.DB) (*names, error) {
	n := &names{identity: identity, state: state, records: map[ipns.Name]*nameRecord{}}
	err := state.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(namesBucket).ForEach(func(channel, saved []byte) error {
			_, name, err := n.key(string(channel))
			if err != nil {
				return err
			}
			r, err := parseSaved(string(channel), saved)
			if err != nil {
				return fmt.Errorf("the record of the name of %s is damaged: %w", channel, err)
			}
			// One that has expired while nothing ran counts all the same, for its sequence;
			// one of another identity does not.
			if err := ipns.ValidateWithName(r.parsed, name); err == nil || errors.Is(err, ipns.ErrExpiredRecord) {
				n.records[name] = r
			}
			return nil
		})
	})
	return n, err
}

// save returns a record as the state has it: seconds of its lifetime, and the record.
func (r *nameRecord) save() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(r.lifetime/time.Second)), r.raw...)
}

func parseSaved(channel string, saved []byte) (*nameRecord, error) {
	if len(saved) < 8 {
		return nil, io.ErrUnexpectedEOF
	}
	r := &nameRecord{
		channel:  channel,
		lifetime: time.Duration(binary.BigEndian.Uint64(saved)) * time.Second,
		raw:      bytes.Clone(saved[8:]),
	}
	var err error
	r.parsed, err = ipns.UnmarshalRecord(r.raw)
	return r, err
}

func (n *names) key(channel string) (crypto.PrivKey, ipns.Name, error) {
	key, err := n.identity.channelKey(channel)
	if err != nil {
		return nil, ipns.Name{}, err
	}
	text, err := n.identity.Name(channel)
	if err != nil {
		return nil, ipns.Name{}, err
	}
	name, err := ipns.NameFromString(text)
	return key, name, err
}

// set lets a channel's name stand for a root. When it returns, the record is durable,
// so that no later one can have a lower sequence.
func (n *names) set(channel string, root unixfs.CID, ttl, lifetime time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sign(channel, root, ttl, lifetime)
}

// sign is set with the lock held.
func (n *names) sign(channel string, root unixfs.CID, ttl, lifetime time.Duration) error {
	key, name, err := n.key(channel)
	if err != nil {
		return err
	}
	// The time, so that it goes on upwards even if the state is lost.
	now := time.Now()
	sequence := uint64(now.Unix())
	if old := n.records[name]; old != nil {
		last, err := old.parsed.Sequence()
		if err != nil {
			return err
		}
		sequence = max(sequence, last+1)
	}
	parsed, err := ipns.NewRecord(key, path.FromCid(libraryCID(root)), sequence, now.Add(lifetime), ttl)
	if err != nil {
		return err
	}
	raw, err := ipns.MarshalRecord(parsed)
	if err != nil {
		return err
	}
	r := &nameRecord{channel, lifetime, raw, parsed}
	err = n.state.Update(func(tx *bbolt.Tx) error { return tx.Bucket(namesBucket).Put([]byte(channel), r.save()) })
	if err != nil {
		return fmt.Errorf("record what the name of %s stands for: %w", channel, err)
	}
	n.records[name] = r
	return nil
}

// forget ends a channel's name: it is not served or put anywhere any more.
func (n *names) forget(channel string) error {
	_, name, err := n.key(channel)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.records, name)
	return n.state.Update(func(tx *bbolt.Tx) error { return tx.Bucket(namesBucket).Delete([]byte(channel)) })
}

// renew signs again what has passed half of its lifetime. It returns how long nothing
// else does.
func (n *names) renew() (idle time.Duration, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	idle = math.MaxInt64
	var errs []error
	for _, r := range n.records {
		idle = min(idle, r.lifetime/2)
		if end, err := r.parsed.Validity(); err == nil {
			if left := time.Until(end) - r.lifetime/2; left > 0 {
				idle = min(idle, left)
				continue
			}
		}
		root, ttl, err := r.value()
		if err == nil {
			err = n.sign(r.channel, root, ttl, r.lifetime)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("renew the name of %s: %w", r.channel, err))
		}
	}
	return idle, errors.Join(errs...)
}

func (r *nameRecord) value() (root unixfs.CID, ttl time.Duration, err error) {
	value, err := r.parsed.Value()
	if err != nil {
		return unixfs.CID{}, 0, err
	}
	immutable, err := path.NewImmutablePath(value)
	if err != nil {
		return unixfs.CID{}, 0, err
	}
	root, ok := address(immutable.RootCid())
	if !ok {
		return unixfs.CID{}, 0, unixfs.ErrCID
	}
	ttl, err = r.parsed.TTL()
	return root, ttl, err
}

// all returns the records with the keys that a DHT has them under.
func (n *names) all() map[string]*nameRecord {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[string]*nameRecord{}
	for name, r := range n.records {
		all[string(name.RoutingKey())] = r
	}
	return all
}

// find returns the record of one of our names, unless it has expired.
func (n *names) find(name ipns.Name) (*nameRecord, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.records[name]
	if r == nil {
		return nil, errNoName
	}
	if end, err := r.parsed.Validity(); err != nil || time.Now().After(end) {
		return nil, errNoName
	}
	return r, nil
}

var errNoName = fmt.Errorf("%w: no name of this node", ErrNotFound)
