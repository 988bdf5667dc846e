// Package ipfstest has blocks for tests of those who want them.
package ipfstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs"
)

// Memory has blocks in memory.
type Memory struct {
	mu     sync.Mutex
	blocks map[unixfs.CID][]byte
	read   int64
}

var _ ipfs.Blocks = (*Memory)(nil)

// NewMemory has no blocks.
func NewMemory() *Memory { return &Memory{blocks: map[unixfs.CID][]byte{}} }

// Get implements [ipfs.Blocks].
func (m *Memory) Get(_ context.Context, c unixfs.CID) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	block, ok := m.blocks[c]
	if !ok {
		return nil, ipfs.ErrNotFound
	}
	m.read += int64(len(block))
	return block, nil
}

// Size implements [ipfs.Blocks].
func (m *Memory) Size(_ context.Context, c unixfs.CID) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	block, ok := m.blocks[c]
	if !ok {
		return 0, ipfs.ErrNotFound
	}
	return len(block), nil
}

// Put adds a block.
func (m *Memory) Put(c unixfs.CID, block []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blocks[c] = bytes.Clone(block)
}

// Remove takes a block away, and returns it.
func (m *Memory) Remove(c unixfs.CID) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	block := m.blocks[c]
	delete(m.blocks, c)
	return block
}

// Len is the number of blocks.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.blocks)
}

// Read is how many bytes have been read since it was last asked.
func (m *Memory) Read() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.read
	m.read = 0
	return n
}

// File adds the blocks of a file.
func (m *Memory) File(raw []byte) unixfs.Link {
	var leaves []byte
	for leaf := range slices.Chunk(raw, unixfs.LeafSize) {
		d := manifest.Sum(leaf)
		m.Put(unixfs.CID{Codec: unixfs.Raw, Digest: d}, leaf)
		leaves = append(leaves, d[:]...)
	}
	link := unixfs.File(int64(len(raw)), leaves, m.Put)
	if len(raw) == 0 {
		m.Put(link.CID, nil)
	}
	return link
}

// Tree adds the blocks of files, whose paths are in order.
func (m *Memory) Tree(t testing.TB, paths []string, raw func(path string) []byte) unixfs.CID {
	t.Helper()
	root, err := unixfs.Tree(len(paths), func(i int) (string, unixfs.Link) { return paths[i], m.File(raw(paths[i])) }, m.Put)
	if err != nil {
		t.Fatal(err)
	}
	return root.CID
}

// Stream is n bytes that follow from a seed.
func Stream(seed string, n int) []byte {
	var out []byte
	for i := uint64(0); len(out) < n; i++ {
		d := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(seed), i))
		out = append(out, d[:]...)
	}
	return out[:n]
}
