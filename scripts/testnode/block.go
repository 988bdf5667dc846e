package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
)

// hash prints as nodes print theirs.
type hash [sha256.Size]byte

func (h hash) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(h[:])), nil }

func (h *hash) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text[min(2, len(text)):]))
	if err != nil || len(raw) != len(h) {
		return fmt.Errorf("%q is not a hash", text)
	}
	copy(h[:], raw)
	return nil
}

// xor adds one hash to a sum that does not depend on the order.
func (h *hash) xor(other hash) {
	for i := range h {
		h[i] ^= other[i]
	}
}

const (
	extrinsicsPerBlock = 8
	recordsPerBlock    = 16
	headerSize         = 8 + 2*sha256.Size
)

// block follows from its number and its parent's hash alone.
type block struct {
	number     uint64
	parent     hash
	extrinsics [][]byte
	state      []record // what the block adds to the state
}

type record struct{ key, value []byte }

func (r record) hash() hash { return sha256.Sum256(append(slices.Clip(r.key), r.value...)) }

func newBlock(number uint64, parent hash) block {
	random := newRandom(number)
	b := block{number: number, parent: parent}
	for range extrinsicsPerBlock {
		b.extrinsics = append(b.extrinsics, randomValue(random))
	}
	for range recordsPerBlock {
		key := make([]byte, sha256.Size)
		_, _ = random.Read(key) // never fails
		b.state = append(b.state, record{key, randomValue(random)})
	}
	return b
}

// header is the number, the parent's hash and the hash of the body.
func (b block) header() []byte {
	body := sha256.New()
	for _, x := range b.extrinsics {
		body.Write(x)
	}
	header := binary.BigEndian.AppendUint64(make([]byte, 0, headerSize), b.number)
	header = append(header, b.parent[:]...)
	return body.Sum(header)
}

func newRandom(seed uint64) *rand.ChaCha8 {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	return rand.NewChaCha8(s)
}

// randomValue is mostly hashes, which do not compress, with some padding.
func randomValue(random *rand.ChaCha8) []byte {
	value := make([]byte, 128+random.Uint64()%256)
	_, _ = random.Read(value[:len(value)-len(value)/12]) // never fails
	return value
}
