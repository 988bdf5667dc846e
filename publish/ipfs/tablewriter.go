package ipfs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"math"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/internal/durable"
)

// The digests of leaves are random. To sort all of them would take more memory than
// the agent should need, so they are taken in parts, by their first bits.
const partBits = 5

// tableSource is what a table is made of.
type tableSource struct {
	index   *manifest.Index
	leaves  map[manifest.Digest][]byte // of the segments
	digest  manifest.Digest            // of the index object
	object  []byte                     // the index object
	numbers map[manifest.Digest]uint32 // of the objects: the index, then the segments
}

// writeTable writes the table of a version. It is there whole or not at all.
func writeTable(path string, s *tableSource) error {
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	file, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer file.Cleanup()
	w := &tableWriter{out: bufio.NewWriterSize(file, 1<<20)}
	w.write(make([]byte, headerSize))
	nodes, err := w.writeNodes(s)
	if err != nil {
		return err
	}
	p := &parts{source: s, nodes: nodes, sizes: segmentSizes(s.index), indexLeaves: leafDigests(s.object)}
	for part := range 1 << partBits {
		w.writeRecords(p.take(part))
	}
	w.writeFencesAndObjects(s)
	if w.err == nil {
		w.err = w.out.Flush()
	}
	if w.err == nil {
		_, w.err = file.WriteAt(w.header(s), 0)
	}
	if w.err != nil {
		return w.err
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// parts makes the records of a table, a part at a time.
type parts struct {
	source      *tableSource
	nodes       []record
	sizes       map[manifest.Digest]int64 // of the segments
	indexLeaves []byte
	found       []record // of the part at hand
}

// take returns the records whose digests begin with some bits, sorted, each once. They
// are there until the next part is taken.
func (p *parts) take(part int) []record {
	s := p.source
	p.found = p.found[:0]
	note := func(r record) {
		if int(r.digest[0]>>(8-partBits)) == part {
			p.found = append(p.found, r)
		}
	}
	s.eachChunk(note)
	for d, size := range p.sizes {
		eachLeaf(inSegment, s.numbers[d], size, s.leaves[d], note)
	}
	eachLeaf(inIndex, s.numbers[s.digest], int64(len(s.object)), p.indexLeaves, note)
	for _, r := range p.nodes {
		note(r)
	}
	slices.SortStableFunc(p.found, func(a, b record) int { return bytes.Compare(a.digest[:], b.digest[:]) })
	return slices.CompactFunc(p.found, func(a, b record) bool { return a.digest == b.digest })
}

// eachChunk notes where each chunk of the files is: in a frame of a segment.
func (s *tableSource) eachChunk(note func(r record)) {
	for i := range s.index.Files {
		f := &s.index.Files[i]
		for n := range f.SegmentCount() {
			first, count := f.SegmentSpan(n)
			r := record{kind: inChunk, object: s.numbers[f.Segment(n)]}
			for c := first; c < first+count; c++ {
				r.digest, r.length, r.size = f.Chunk(c), f.Frames[c], uint32(f.ChunkLength(c))
				note(r)
				r.offset += r.length
			}
		}
	}
}

// eachLeaf notes where each leaf of an object is.
func eachLeaf(kind, object uint32, size int64, leaves []byte, note func(r record)) {
	for at := int64(0); at < size; at += unixfs.LeafSize {
		n := uint32(min(unixfs.LeafSize, size-at))
		note(record{manifest.Digest(leaves[:manifest.DigestSize]), kind, object, uint32(at), n, n})
		leaves = leaves[manifest.DigestSize:]
	}
}

// tableWriter writes the sections of a table. The first error stays.
type tableWriter struct {
	out    *bufio.Writer
	count  int64 // records
	nodes  int64 // bytes
	fences []byte
	buf    []byte
	err    error
}

func (w *tableWriter) write(b []byte) {
	if w.err == nil {
		_, w.err = w.out.Write(b)
	}
}

// writeNodes writes the blocks that are in no object, and returns their records.
func (w *tableWriter) writeNodes(s *tableSource) (all []record, err error) {
	tell := func(c unixfs.CID, block []byte) {
		size := uint32(len(block))
		all = append(all, record{c.Digest, isNode, 0, uint32(w.nodes), size, size})
		w.nodes += int64(size)
		w.write(block)
	}
	// An empty file is a leaf without bytes, which are nowhere.
	tell(unixfs.File(0, nil, nil).CID, nil)
	if _, err := unixfs.Snapshot(s.index, tell); err != nil {
		return nil, err
	}
	if _, err := objects(s.index, s.leaves, s.digest, s.object, tell); err != nil {
		return nil, err
	}
	if w.nodes > math.MaxUint32 || len(s.numbers) > maxObject {
		return nil, manifest.ErrLimit
	}
	return all, nil
}

func (w *tableWriter) writeRecords(all []record) {
	for i := range all {
		if w.count%fenceStride == 0 {
			w.fences = append(w.fences, all[i].digest[:8]...)
		}
		w.count++
		w.buf = all[i].append(w.buf[:0])
		w.write(w.buf)
	}
}

func (w *tableWriter) writeFencesAndObjects(s *tableSource) {
	w.write(w.fences)
	digests := make([]byte, len(s.numbers)*manifest.DigestSize)
	for d, n := range s.numbers {
		copy(digests[int(n)*manifest.DigestSize:], d[:])
	}
	w.write(digests)
}

func (w *tableWriter) header(s *tableSource) []byte {
	b := []byte(tableMagic)
	for _, n := range []int64{w.count, int64(len(w.fences) / 8), int64(len(s.numbers)), w.nodes} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}
