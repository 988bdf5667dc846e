package snapshot

import "github.com/qsync/qsync/manifest"

// segment names a segment of an index.
type segment struct {
	file, number int
}

// known finds segments of the previous version by the digests of their chunks,
// one chunk after the other, so that a segment need not be held in memory or
// read twice to be recognised.
type known struct {
	index *manifest.Index
	// Segments that begin with the same chunk form a list: first has the place of
	// its head in segments, plus one; next that of each one's successor, plus one.
	first    map[manifest.Digest]int
	segments []segment
	next     []int
}

func newKnown(x *manifest.Index) *known {
	k := &known{index: x, first: make(map[manifest.Digest]int)}
	// The segments of zeros of sparse files are the same many times over.
	seen := make(map[manifest.Digest]bool)
	for i := range x.Files {
		f := &x.Files[i]
		for j := range f.SegmentCount() {
			d := f.Segment(j)
			if seen[d] {
				continue
			}
			seen[d] = true
			first, _ := f.SegmentSpan(j)
			head := f.Chunk(first)
			k.segments = append(k.segments, segment{i, j})
			k.next = append(k.next, k.first[head])
			k.first[head] = len(k.segments)
		}
	}
	return k
}

// begin appends to dst the segments of n chunks that begin with d.
func (k *known) begin(dst []segment, d manifest.Digest, n int) []segment {
	for at := k.first[d]; at > 0; at = k.next[at-1] {
		s := k.segments[at-1]
		if _, chunks := k.index.Files[s.file].SegmentSpan(s.number); chunks == n {
			dst = append(dst, s)
		}
	}
	return dst
}

// narrow keeps those of the segments whose chunk i, counted in the segment, is d.
func (k *known) narrow(segments []segment, i int, d manifest.Digest) []segment {
	kept := segments[:0]
	for _, s := range segments {
		f := &k.index.Files[s.file]
		if first, _ := f.SegmentSpan(s.number); f.Chunk(first+i) == d {
			kept = append(kept, s)
		}
	}
	return kept
}
