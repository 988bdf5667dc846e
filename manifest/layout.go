package manifest

// The cut of files into chunks and of chunks into segments.
const (
	ChunkSize     = 1 << 20 // bytes of a chunk; the last one of a file may be shorter
	SegmentChunks = 16      // chunks of a segment
	// MinTailChunks is the least number of chunks that the last segment of a
	// file of several segments has: a shorter tail joins the segment before
	// it, so that a 64.4 MiB SST is four objects and not five.
	MinTailChunks = 8
	// MaxSegmentChunks is the most chunks a segment can have.
	MaxSegmentChunks = SegmentChunks + MinTailChunks - 1
)

// ChunkCount is the number of chunks of a file of size bytes.
func ChunkCount(size int64) int64 { return (size + ChunkSize - 1) / ChunkSize }

// SegmentCount is the number of segments of a file of so many chunks.
func SegmentCount(chunks int64) int64 {
	n, tail := chunks/SegmentChunks, chunks%SegmentChunks
	if tail >= MinTailChunks || (n == 0 && tail > 0) {
		n++
	}
	return n
}

// SegmentSpan is the first chunk of segment i of a file of so many chunks, and
// the number of chunks of that segment.
func SegmentSpan(chunks, i int64) (first, n int64) {
	first = i * SegmentChunks
	if i == SegmentCount(chunks)-1 {
		return first, chunks - first
	}
	return first, SegmentChunks
}

// SegmentOf is the segment that chunk i of a file of so many chunks lies in.
func SegmentOf(chunks, i int64) int64 {
	return min(i/SegmentChunks, SegmentCount(chunks)-1)
}

// Keys of the objects below a location's base.
const (
	CatalogKey = "catalog"
	KeysKey    = "keys"
)

// HeadKey is where the head of a channel lies.
func HeadKey(channel string) string { return channel + "/head" }

// ManifestKey is where the manifest of that digest lies.
func ManifestKey(d Digest) string { return "manifests/" + d.Hex() + ".json" }

// IndexKey is where the index of that digest lies.
func IndexKey(d Digest) string { return "indexes/" + d.Hex() + ".jsonl.zst" }

// SegmentKey is where the segment of that digest lies.
func SegmentKey(d Digest) string {
	h := d.Hex()
	return "segments/" + h[:2] + "/" + h + ".zst"
}
