package ipfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"

	"github.com/qsync/qsync/manifest"
)

// A table says where the blocks of a version are. It is a file of its own, is written
// once, and is read where it lies:
//
//	header    magic, and the number of records, fences, objects and bytes of nodes, 8 bytes each
//	nodes     blocks of links, which are in no object
//	records   48 bytes each, in the order of their digests
//	fences    the first 8 bytes of every 256th digest, which are kept in memory
//	objects   the digests of the objects that records point into
//
// It follows from the index of the version and takes some 0.02 % of its bytes.
const (
	tableMagic  = "qsync blocks v1\n"
	headerSize  = len(tableMagic) + 4*8
	recordSize  = manifest.DigestSize + 4*4
	fenceStride = 256
)

// The kinds of places.
const (
	inChunk   = iota // a chunk, which is to be decoded from its frame
	inSegment        // a piece of a segment
	inIndex          // a piece of the index
	isNode           // among the nodes of the table
	kinds
)

// record says where a block is.
type record struct {
	digest manifest.Digest
	kind   uint32
	object uint32 // its number; of a node, 0
	offset uint32 // bytes into the object, or into the nodes
	length uint32 // bytes there
	size   uint32 // bytes of the block
}

// append writes the record. The size is that of the bytes there, except for a chunk,
// which has the size of all chunks but the last one of its file.
func (r *record) append(b []byte) []byte {
	b = append(b, r.digest[:]...)
	b = binary.BigEndian.AppendUint32(b, r.kind<<kindShift|r.object)
	b = binary.BigEndian.AppendUint32(b, r.offset)
	b = binary.BigEndian.AppendUint32(b, r.length)
	return binary.BigEndian.AppendUint32(b, r.size)
}

const (
	kindShift = 30 // the bits below it are the object's number
	maxObject = 1<<kindShift - 1
)

func parseRecord(b []byte) record {
	r := record{digest: manifest.Digest(b[:manifest.DigestSize])}
	b = b[manifest.DigestSize:]
	which := binary.BigEndian.Uint32(b)
	r.kind, r.object = which>>kindShift, which&maxObject
	r.offset, r.length, r.size = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	return r
}

// table is a table that is open.
type table struct {
	file                            *os.File
	records, fences, objects, nodes int64 // of the first three the number, of the last one bytes
	fence                           []uint64
	objectDigests                   []byte
}

var errTable = errors.New("the table of blocks is damaged")

func openTable(path string) (t *table, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open table %s: %w", path, err), file.Close())
		}
	}()
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(file, header); err != nil || string(header[:len(tableMagic)]) != tableMagic {
		return nil, errTable
	}
	t = &table{file: file}
	for i, n := range []*int64{&t.records, &t.fences, &t.objects, &t.nodes} {
		*n = int64(binary.BigEndian.Uint64(header[len(tableMagic)+8*i:]))
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	const most = 1 << 40
	if t.records|t.objects|t.nodes < 0 || max(t.records, t.objects, t.nodes) > most ||
		t.fences != (t.records+fenceStride-1)/fenceStride || info.Size() != t.objectsAt()+manifest.DigestSize*t.objects {
		return nil, errTable
	}
	fences := make([]byte, 8*t.fences)
	if _, err := file.ReadAt(fences, t.fencesAt()); err != nil {
		return nil, err
	}
	for f := range slices.Chunk(fences, 8) {
		t.fence = append(t.fence, binary.BigEndian.Uint64(f))
	}
	t.objectDigests = make([]byte, manifest.DigestSize*t.objects)
	_, err = file.ReadAt(t.objectDigests, t.objectsAt())
	return t, err
}

func (t *table) recordsAt() int64 { return int64(headerSize) + t.nodes }
func (t *table) fencesAt() int64  { return t.recordsAt() + t.records*recordSize }
func (t *table) objectsAt() int64 { return t.fencesAt() + 8*t.fences }

func (t *table) object(n uint32) (manifest.Digest, error) {
	if int64(n) >= t.objects {
		return manifest.Digest{}, errTable
	}
	return manifest.Digest(t.objectDigests[int(n)*manifest.DigestSize:][:manifest.DigestSize]), nil
}

// find returns the record of a block. Error: ErrNotFound.
func (t *table) find(d manifest.Digest) (record, error) {
	first := binary.BigEndian.Uint64(d[:])
	// Records between the last fence below and the first one above: as a rule a stride.
	begin := int64(max(0, sort.Search(len(t.fence), func(i int) bool { return t.fence[i] >= first })-1)) * fenceStride
	end := min(t.records, int64(sort.Search(len(t.fence), func(i int) bool { return t.fence[i] > first }))*fenceStride)
	if begin >= end {
		return record{}, ErrNotFound
	}
	span := make([]byte, (end-begin)*recordSize)
	if _, err := t.file.ReadAt(span, t.recordsAt()+begin*recordSize); err != nil {
		return record{}, fmt.Errorf("read the table of blocks: %w", err)
	}
	at := func(i int) []byte { return span[i*recordSize:][:recordSize] }
	n := len(span) / recordSize
	i := sort.Search(n, func(i int) bool { return bytes.Compare(at(i)[:manifest.DigestSize], d[:]) >= 0 })
	if i == n || !bytes.Equal(at(i)[:manifest.DigestSize], d[:]) {
		return record{}, ErrNotFound
	}
	return parseRecord(at(i)), nil
}

// node returns a block that is in the table itself.
func (t *table) node(r record) ([]byte, error) {
	block := make([]byte, r.length)
	if _, err := t.file.ReadAt(block, int64(headerSize)+int64(r.offset)); err != nil {
		return nil, fmt.Errorf("read the table of blocks: %w", err)
	}
	return block, nil
}

// scan calls fn for every record.
func (t *table) scan(fn func(r record) error) error {
	buf := make([]byte, 4096*recordSize)
	for at := int64(0); at < t.records; {
		n := min(4096, t.records-at)
		span := buf[:n*recordSize]
		if _, err := t.file.ReadAt(span, t.recordsAt()+at*recordSize); err != nil {
			return fmt.Errorf("read the table of blocks: %w", err)
		}
		for b := range slices.Chunk(span, recordSize) {
			if err := fn(parseRecord(b)); err != nil {
				return err
			}
		}
		at += n
	}
	return nil
}
