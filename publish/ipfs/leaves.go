package ipfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish"
)

var _ publish.Addresses = (*View)(nil)

// Segment implements [publish.Addresses]: it hashes the leaves of the segment.
func (v *View) Segment(digest manifest.Digest, body []byte) error {
	leaves := leafDigests(body)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.leaves[digest] = leaves
	return nil
}

// leafDigests are those of an object's leaves, one behind the other.
func leafDigests(body []byte) []byte {
	var digests []byte
	pairs := slices.Collect(slices.Chunk(body, unixfs.LeafSize))
	for pair := range slices.Chunk(pairs, 2) {
		if len(pair) == 1 {
			d := manifest.Sum(pair[0])
			return append(digests, d[:]...)
		}
		a, b := manifest.SumPair(pair[0], pair[1])
		digests = append(append(digests, a[:]...), b[:]...)
	}
	return digests
}

// Version implements [publish.Addresses].
func (v *View) Version(ctx context.Context, x *manifest.Index, index manifest.Digest, indexObject []byte) (*manifest.IPFS, error) {
	raw, err := unixfs.Snapshot(x, nil)
	if err != nil {
		return nil, err
	}
	leaves, err := v.segmentLeaves(ctx, x)
	if err != nil {
		return nil, err
	}
	zstd, err := objects(x, leaves, index, indexObject, nil)
	if err != nil {
		return nil, err
	}
	return &manifest.IPFS{Raw: raw.String(), Zstd: zstd.String()}, nil
}

// readsAtOnce is how many segments are read at a time.
const readsAtOnce = 8

// segmentLeaves are the digests of the leaves of an index's segments: what it was
// told of, and what other versions have. The rest, as after a crash or of what was
// published before there was a view, is read.
func (v *View) segmentLeaves(parent context.Context, x *manifest.Index) (map[manifest.Digest][]byte, error) {
	sizes := segmentSizes(x)
	leaves, err := v.knownLeaves(sizes)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(parent)
	group.SetLimit(readsAtOnce)
	for d, size := range sizes {
		if ctx.Err() != nil {
			break
		}
		mu.Lock()
		known := leaves[d] != nil
		mu.Unlock()
		if known {
			continue
		}
		group.Go(func() error {
			body, err := v.store.Read(ctx, manifest.SegmentKey(d), 0, size)
			if err == nil && manifest.Sum(body) != d {
				err = fmt.Errorf("its digest is %s", manifest.Sum(body))
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", manifest.SegmentKey(d), err)
			}
			found := leafDigests(body)
			mu.Lock()
			defer mu.Unlock()
			leaves[d] = found
			return nil
		})
	}
	return leaves, errors.Join(group.Wait(), parent.Err())
}

// knownLeaves are those of the segments that need not be read.
func (v *View) knownLeaves(sizes map[manifest.Digest]int64) (map[manifest.Digest][]byte, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	leaves := make(map[manifest.Digest][]byte, len(sizes))
	for d := range sizes {
		if noted := v.leaves[d]; noted != nil {
			leaves[d] = noted
		}
	}
	for _, t := range v.tables {
		if len(leaves) == len(sizes) {
			break
		}
		if err := t.collectLeaves(sizes, leaves); err != nil {
			return nil, err
		}
	}
	return leaves, nil
}

// collectLeaves adds the leaves of those of the segments that the table has.
func (t *table) collectLeaves(sizes map[manifest.Digest]int64, leaves map[manifest.Digest][]byte) error {
	wanted := make([][]byte, t.objects) // by their numbers; nil is not wanted
	left := make([]int64, t.objects)    // bytes whose leaves have not been found
	for n := range wanted {
		d, err := t.object(uint32(n))
		if err != nil {
			return err
		}
		if size := sizes[d]; size > 0 && leaves[d] == nil {
			wanted[n], left[n] = make([]byte, (size+unixfs.LeafSize-1)/unixfs.LeafSize*manifest.DigestSize), size
		}
	}
	err := t.scan(func(r record) error {
		if r.kind != inSegment || int64(r.object) >= t.objects || wanted[r.object] == nil {
			return nil
		}
		at := int(r.offset / unixfs.LeafSize * manifest.DigestSize)
		if at+manifest.DigestSize > len(wanted[r.object]) {
			return errTable
		}
		copy(wanted[r.object][at:], r.digest[:])
		left[r.object] -= int64(r.length)
		return nil
	})
	if err != nil {
		return err
	}
	for n, found := range wanted {
		// Leaves that two segments share are there once.
		if d, _ := t.object(uint32(n)); found != nil && left[n] == 0 {
			leaves[d] = found
		}
	}
	return nil
}

// eachSegment calls fn for the segments of an index; one that occurs twice comes twice.
func eachSegment(x *manifest.Index, fn func(d manifest.Digest, size int64)) {
	for i := range x.Files {
		f := &x.Files[i]
		for s := range f.SegmentCount() {
			first, n := f.SegmentSpan(s)
			var size int64
			for _, frame := range f.Frames[first : first+n] {
				size += int64(frame)
			}
			fn(f.Segment(s), size)
		}
	}
}

// segmentSizes are the bytes of the segments of an index.
func segmentSizes(x *manifest.Index) map[manifest.Digest]int64 {
	sizes := map[manifest.Digest]int64{}
	eachSegment(x, func(d manifest.Digest, size int64) { sizes[d] = size })
	return sizes
}

// objects is the tree of index and segments of a version, under their keys.
func objects(x *manifest.Index, leaves map[manifest.Digest][]byte, index manifest.Digest, indexObject []byte, tell unixfs.Tell) (unixfs.Link, error) {
	sizes := segmentSizes(x)
	segments := slices.SortedFunc(maps.Keys(leaves), func(a, b manifest.Digest) int { return bytes.Compare(a[:], b[:]) }) // as their keys
	return unixfs.Tree(1+len(segments), func(i int) (string, unixfs.Link) {
		if i == 0 { // "indexes/" before "segments/"
			return manifest.IndexKey(index), unixfs.File(int64(len(indexObject)), leafDigests(indexObject), tell)
		}
		d := segments[i-1]
		return manifest.SegmentKey(d), unixfs.File(sizes[d], leaves[d], tell)
	}, tell)
}
