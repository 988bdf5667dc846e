package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The keys of a database.
const (
	headKey         = "best"
	headerPrefix    = 'h' // + number: header
	extrinsicPrefix = 'x' // + number + place: one extrinsic
	statePrefix     = 's' // + key: record of the state
)

// head is the newest block and what the state holds as of it. It is written in
// one batch with them, so a log that was cut short shows.
type head struct {
	Height  uint64 `json:"height"`
	Hash    hash   `json:"hash"`
	Records uint64 `json:"records"`
	State   hash   `json:"state"` // XOR of the records' hashes
}

type node struct {
	db   *pebble.DB
	head head
}

// openMode says what may happen to the directory.
type openMode int

const (
	create openMode = iota
	existing
	unchanged
)

func openNode(directory string, mode openMode) (*node, error) {
	// Open alone would leave a directory and a lock where nothing was.
	if found, err := pebble.Peek(directory, vfs.Default); mode != create && (err != nil || !found.Exists) {
		return nil, errors.Join(fmt.Errorf("open %s: no database there", directory), err)
	}
	db, err := pebble.Open(directory, &pebble.Options{
		ReadOnly:           mode == unchanged,
		MemTableSize:       16 << 20,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             quiet{},
		// The default ends the process; here it comes back as the error of the read.
		EventListener: &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}},
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", directory, err)
	}
	n := &node{db: db}
	value, closer, err := db.Get([]byte(headKey))
	if errors.Is(err, pebble.ErrNotFound) && mode == create {
		return n, nil
	}
	if err != nil {
		return nil, closeNode(n, fmt.Errorf("read the head of %s: %w", directory, err))
	}
	defer closer.Close()
	if err := json.Unmarshal(value, &n.head); err != nil {
		return nil, closeNode(n, fmt.Errorf("read the head of %s: %w", directory, err))
	}
	return n, nil
}

func (n *node) close() error { return n.db.Close() }

// appendBlock adds the next block and returns the bytes written.
func (n *node) appendBlock() (int, error) {
	b := newBlock(n.head.Height+1, n.head.Hash)
	header := b.header()
	next := n.head
	next.Height, next.Hash = b.number, sha256.Sum256(header)
	next.Records += uint64(len(b.state))

	batch := n.db.NewBatch()
	set(batch, numberKey(headerPrefix, b.number), header)
	for i, x := range b.extrinsics {
		set(batch, append(numberKey(extrinsicPrefix, b.number), byte(i)), x)
	}
	for _, r := range b.state {
		set(batch, stateKey(r.key), r.value)
		next.State.xor(r.hash())
	}
	size := batch.Len()
	return size, n.commit(batch, next)
}

// mutate gives a share of the state's records new values.
func (n *node) mutate(percent float64) error {
	random := newRandom(binary.BigEndian.Uint64(n.head.State[:]))
	choose := rand.New(random)
	next := n.head
	batch := n.db.NewBatch()
	err := n.scan(statePrefix, func(key, value []byte) error {
		if choose.Float64()*100 >= percent {
			return nil
		}
		changed := record{bytes.Clone(key), randomValue(random)}
		next.State.xor(record{changed.key, value}.hash())
		next.State.xor(changed.hash())
		set(batch, stateKey(changed.key), changed.value)
		if batch.Len() < 4<<20 {
			return nil
		}
		full := batch
		batch = n.db.NewBatch()
		return n.commit(full, next)
	})
	if err != nil {
		return fmt.Errorf("mutate: %w", err)
	}
	return errors.Join(n.commit(batch, next), n.db.Flush())
}

// check verifies every link, every body and every record of the state.
func (n *node) check() error {
	var height uint64
	var parent hash
	err := n.scan(headerPrefix, func(key, header []byte) error {
		height++
		if binary.BigEndian.Uint64(key) != height || len(header) != headerSize || !bytes.HasPrefix(header, key) {
			return fmt.Errorf("block %d is missing or malformed", height)
		}
		if !bytes.Equal(header[8:8+sha256.Size], parent[:]) {
			return fmt.Errorf("block %d does not link to its parent", height)
		}
		b := block{number: height, parent: parent}
		err := n.scanKey(numberKey(extrinsicPrefix, height), func(_, extrinsic []byte) error {
			b.extrinsics = append(b.extrinsics, bytes.Clone(extrinsic))
			return nil
		})
		if err != nil {
			return err
		}
		if !bytes.Equal(b.header(), header) {
			return fmt.Errorf("block %d has another body than its header says", height)
		}
		parent = sha256.Sum256(header)
		return nil
	})
	if err != nil {
		return err
	}
	if height != n.head.Height || parent != n.head.Hash {
		return fmt.Errorf("the chain ends at block %d, the head is %d", height, n.head.Height)
	}

	var records uint64
	var state hash
	err = n.scan(statePrefix, func(key, value []byte) error {
		records++
		state.xor(record{key, value}.hash())
		return nil
	})
	if err != nil {
		return err
	}
	if records != n.head.Records {
		return fmt.Errorf("the state has %d records of %d", records, n.head.Records)
	}
	if state != n.head.State {
		return errors.New("a record of the state has another value than the head says")
	}
	return nil
}

// commit writes the batch and the new head as one.
func (n *node) commit(batch *pebble.Batch, next head) error {
	value, err := json.Marshal(next)
	if err != nil {
		return err
	}
	set(batch, []byte(headKey), value)
	// As nodes do: the log is written at once and synced when the system likes.
	if err := batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("commit block %d: %w", next.Height, err)
	}
	n.head = next
	return nil
}

// scan visits all keys with a prefix, in order; it hands over what follows the
// prefix. Neither slice outlives the call.
func (n *node) scan(prefix byte, visit func(key, value []byte) error) error {
	return n.scanKey([]byte{prefix}, visit)
}

func (n *node) scanKey(prefix []byte, visit func(key, value []byte) error) error {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			break
		}
	}
	it, err := n.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: end})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if err := visit(it.Key()[len(prefix):], it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

func numberKey(prefix byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, number)
}

func stateKey(key []byte) []byte { return append([]byte{statePrefix}, key...) }

// set cannot fail: a batch that nobody committed yet takes every key.
func set(batch *pebble.Batch, key, value []byte) { _ = batch.Set(key, value, nil) }

// quiet drops pebble's reports; what matters comes as an error.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
