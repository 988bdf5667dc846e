package fetcher

import (
	"math/bits"
	"sort"
	"sync"

	"github.com/qsync/qsync/manifest"
)

// table numbers the chunks of an index through.
type table struct {
	index *manifest.Index
	first []int64 // number of each file's first chunk; one more at the end
	// digests says that the index has those of its chunks. Without them nothing can
	// be told about what arrives, and nothing on a disk can be recognised.
	digests bool
}

func newTable(x *manifest.Index, digests bool) *table {
	t := &table{index: x, first: make([]int64, len(x.Files)+1), digests: digests}
	for i := range x.Files {
		t.first[i+1] = t.first[i] + int64(x.Files[i].ChunkCount())
	}
	return t
}

// isHole reports whether a chunk is known to be zeros: a hole serves.
func (t *table) isHole(file, chunk int) bool {
	f := &t.index.Files[file]
	return t.digests && f.Chunk(chunk) == zeroChunk && f.ChunkLength(chunk) == manifest.ChunkSize
}

func (t *table) chunks() int64 { return t.first[len(t.first)-1] }

// at is the file, and the chunk of it, that has a number.
func (t *table) at(id int64) (file, chunk int) {
	file = sort.Search(len(t.first), func(i int) bool { return t.first[i] > id }) - 1
	return file, int(id - t.first[file])
}

// chunkSet is a set of chunk numbers, safe for concurrent use.
type chunkSet struct {
	mu   sync.RWMutex
	bits []uint64
	n    int64
}

func newChunkSet(chunks int64) *chunkSet {
	return &chunkSet{bits: make([]uint64, (chunks+63)/64)}
}

// add reports whether id was new.
func (s *chunkSet) add(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bits[id/64]&(1<<(id%64)) != 0 {
		return false
	}
	s.bits[id/64] |= 1 << (id % 64)
	s.n++
	return true
}

func (s *chunkSet) remove(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bits[id/64]&(1<<(id%64)) != 0 {
		s.bits[id/64] &^= 1 << (id % 64)
		s.n--
	}
}

func (s *chunkSet) has(id int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.bits[id/64]&(1<<(id%64)) != 0
}

func (s *chunkSet) len() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.n
}

// runs gives the maximal runs of the set in ascending order.
func (s *chunkSet) runs(give func(first, count int64)) {
	s.mu.RLock()
	words := append([]uint64(nil), s.bits...)
	s.mu.RUnlock()
	var first, count int64
	for w, word := range words {
		for word != 0 {
			start := int64(bits.TrailingZeros64(word))
			length := int64(bits.TrailingZeros64(^(word >> start)))
			if id := int64(w)*64 + start; count > 0 && first+count == id {
				count += length
			} else {
				if count > 0 {
					give(first, count)
				}
				first, count = id, length
			}
			if start+length == 64 {
				break
			}
			word &^= (1<<length - 1) << start
		}
	}
	if count > 0 {
		give(first, count)
	}
}
