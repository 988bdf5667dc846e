package unixfs

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/spaolacci/murmur3"
)

const (
	// maxDirectory is the most bytes of a directory that is one block.
	maxDirectory = 256 << 10
	// fanout is the number of slots of a shard: one for each value of a byte of
	// the hash of a name.
	fanout      = 256
	murmur3Code = 0x22
)

// Directory is the tree of a directory with the given entries, whose names are
// distinct. It sorts them.
func Directory(entries []Entry, tell Tell) (Link, error) {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	plain := appendVarint(nil, fieldType, typeDirectory)
	size := len(appendBytes(nil, nodeData, plain))
	for i := range entries {
		size += len(appendLink(nil, &entries[i]))
	}
	var link Link
	if size <= maxDirectory {
		link = node(entries, plain, tell)
	} else {
		hashed := make([]hashedEntry, len(entries))
		for i := range entries {
			hashed[i] = hashedEntry{&entries[i], murmur3.Sum64([]byte(entries[i].Name))}
		}
		slices.SortFunc(hashed, func(a, b hashedEntry) int {
			if a.hash < b.hash {
				return -1
			} else if a.hash > b.hash {
				return 1
			}
			return 0
		})
		var err error
		if link, err = shard(hashed, 0, tell); err != nil {
			return Link{}, err
		}
	}
	link.FileSize = 0
	return link, nil
}

type hashedEntry struct {
	*Entry
	hash uint64
}

// slot is where on a level of the HAMT an entry belongs: a byte of its hash.
func (e hashedEntry) slot(level int) int { return int(e.hash >> (56 - 8*level) & 0xff) }

var errCollision = errors.New("two names have the same hash")

// shard is the node of a HAMT for entries, in the order of their hashes, that agree
// in the bytes of the levels above. A slot that several belong to is a shard again.
func shard(entries []hashedEntry, level int, tell Tell) (Link, error) {
	if level == 8 {
		return Link{}, fmt.Errorf("directory entries %.80q and %.80q: %w", entries[0].Name, entries[1].Name, errCollision)
	}
	var links []Entry
	var used [fanout / 8]byte
	for len(entries) > 0 {
		slot := entries[0].slot(level)
		n := 1
		for n < len(entries) && entries[n].slot(level) == slot {
			n++
		}
		prefix := fmt.Sprintf("%02X", slot)
		if n == 1 {
			links = append(links, Entry{prefix + entries[0].Name, entries[0].Link})
		} else {
			below, err := shard(entries[:n], level+1, tell)
			if err != nil {
				return Link{}, err
			}
			links = append(links, Entry{prefix, below})
		}
		used[len(used)-1-slot/8] |= 1 << (slot % 8)
		entries = entries[n:]
	}
	data := appendVarint(nil, fieldType, typeHAMTShard)
	data = appendBytes(data, fieldData, trimZeros(used[:]))
	data = appendVarint(data, fieldHashType, murmur3Code)
	data = appendVarint(data, fieldFanout, fanout)
	return node(links, data, tell), nil
}

// trimZeros leaves out the zeros that a number begins with.
func trimZeros(b []byte) []byte {
	for len(b) > 0 && bits.OnesCount8(b[0]) == 0 {
		b = b[1:]
	}
	return b
}
