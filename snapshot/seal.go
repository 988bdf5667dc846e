package snapshot

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest"
)

// sealer cuts the files of a fork into segments and puts those that are new.
type sealer struct {
	fork   Fork
	sink   Sink
	frames *manifest.FrameEncoder
	known  *known // segments of the previous version; nil if there is none
	meter  *meter

	mu  sync.Mutex
	put map[manifest.Digest]bool // segments that this run has put
}

// job is one segment of a file to seal.
type job struct {
	file    *manifest.File
	segment int
}

// seal fills in the chunks, segments and frames of the files. Each segment has
// its own place in them, so the result does not depend on who seals which when.
func (s *sealer) seal(ctx context.Context, files []*manifest.File, workers int) error {
	jobs := make(chan job)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(jobs)
		for _, f := range files {
			chunks := f.ChunkCount()
			f.Chunks = make([]byte, chunks*manifest.DigestSize)
			f.Frames = make([]uint32, chunks)
			f.Segments = make([]byte, f.SegmentCount()*manifest.DigestSize)
			for i := range f.SegmentCount() {
				select {
				case jobs <- job{f, i}:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			w := newWorker(s)
			for j := range jobs {
				if err := w.seal(ctx, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// worker seals one segment at a time, in memory that it keeps.
type worker struct {
	*sealer
	zeroFrame  []byte    // the frame of a chunk of zeros, of which sparse files have many
	pair       [2][]byte // the chunks at hand
	earlier    []byte    // a chunk that is read again
	segment    []byte
	frames     manifest.SegmentEncoder
	candidates []segment
}

func newWorker(s *sealer) *worker {
	return &worker{
		sealer: s, zeroFrame: s.frames.Append(nil, zeros),
		pair:    [2][]byte{make([]byte, manifest.ChunkSize), make([]byte, manifest.ChunkSize)},
		earlier: make([]byte, manifest.ChunkSize),
		// Growing would leave copies behind; what is never written takes no memory.
		segment: make([]byte, 0, manifest.MaxSegmentChunks*manifest.MaxFrameSize),
	}
}

func (w *worker) seal(ctx context.Context, j job) error {
	src, err := openSource(w.fork, j.file.Path, j.file.Size)
	if err != nil {
		return err
	}
	defer src.close()
	first, n := j.file.SegmentSpan(j.segment)
	if err := w.readSegment(ctx, src, j.file, first, n); err != nil {
		return err
	}
	if err := src.finish(); err != nil {
		return err
	}
	size := min(j.file.Size, int64(first+n)*manifest.ChunkSize) - int64(first)*manifest.ChunkSize
	if len(w.candidates) > 0 {
		w.nameAgain(j, w.candidates[0])
		w.meter.add(Progress{ReusedBytes: size})
		return nil
	}
	return w.store(ctx, j, size)
}

// readSegment reads and hashes n chunks. It leaves either a segment of the
// previous version with the same chunks in candidates, or the compressed chunks
// in segment.
func (w *worker) readSegment(ctx context.Context, src *source, f *manifest.File, first, n int) error {
	w.segment, w.frames = w.segment[:0], w.sealer.frames.Segment()
	compressed := 0
	for next := 0; next < n; next += len(w.pair) {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		chunks, digests, err := w.readPair(src, first+next, min(len(w.pair), n-next))
		if err != nil {
			return err
		}
		for k, chunk := range chunks {
			i := next + k
			copy(f.Chunks[(first+i)*manifest.DigestSize:], digests[k][:])
			w.meter.add(Progress{DoneBytes: int64(len(chunk)), ReadBytes: src.takeRead()})
			if w.findCandidates(i, n, digests[k]); len(w.candidates) > 0 {
				continue // perhaps a known segment, which is not to be compressed
			}
			for ; compressed < i; compressed++ {
				if err := w.compressEarlier(src, f, first+compressed); err != nil {
					return err
				}
			}
			w.compress(f, first+i, chunk)
			compressed++
		}
	}
	return nil
}

// readPair reads one or two chunks from i on and hashes them.
func (w *worker) readPair(src *source, i, n int) (chunks [][]byte, digests [2]manifest.Digest, err error) {
	var read [2][]byte
	for k := range read[:n] {
		if read[k], err = src.chunk(i+k, w.pair[k]); err != nil {
			return nil, digests, err
		}
	}
	if n == 1 {
		digests[0] = manifest.Sum(read[0])
	} else {
		digests[0], digests[1] = sums(read[0], read[1])
	}
	return read[:n], digests, nil
}

// findCandidates keeps the known segments that agree with the first i+1 of n chunks.
func (w *worker) findCandidates(i, n int, digest manifest.Digest) {
	switch {
	case w.known == nil:
	case i == 0:
		w.candidates = w.known.begin(w.candidates[:0], digest, n)
	default:
		w.candidates = w.known.narrow(w.candidates, i, digest)
	}
}

func (w *worker) compress(f *manifest.File, i int, chunk []byte) {
	before := len(w.segment)
	if f.Chunk(i) == zeroDigest {
		w.segment = append(w.segment, w.zeroFrame...)
	} else {
		w.segment = w.frames.Append(w.segment, chunk)
	}
	f.Frames[i] = uint32(len(w.segment) - before)
}

// compressEarlier compresses a chunk that was passed over because its segment
// began like a known one. As a rule the page cache still has it.
func (w *worker) compressEarlier(src *source, f *manifest.File, i int) error {
	chunk, err := src.chunk(i, w.earlier)
	if err != nil {
		return err
	}
	if manifest.Sum(chunk) != f.Chunk(i) {
		return fmt.Errorf("read %s at %d: two readings differ: the fork does not hold still, or the disk fails",
			f.Path, int64(i)*manifest.ChunkSize)
	}
	w.meter.add(Progress{ReadBytes: src.takeRead()})
	w.compress(f, i, chunk)
	return nil
}

// nameAgain makes the segment of the job a segment of the previous version.
func (w *worker) nameAgain(j job, s segment) {
	old := &w.known.index.Files[s.file]
	from, n := old.SegmentSpan(s.number)
	to, _ := j.file.SegmentSpan(j.segment)
	copy(j.file.Frames[to:to+n], old.Frames[from:from+n])
	digest := old.Segment(s.number)
	copy(j.file.Segments[j.segment*manifest.DigestSize:], digest[:])
}

// store puts the compressed segment unless this run has put the same one
// before: the zeros of a sparse file are one object.
func (w *worker) store(ctx context.Context, j job, size int64) error {
	digest := manifest.Sum(w.segment)
	copy(j.file.Segments[j.segment*manifest.DigestSize:], digest[:])
	if w.hasPut(digest) {
		w.meter.add(Progress{ReusedBytes: size})
		return nil
	}
	if err := w.sink.Put(ctx, digest, w.segment); err != nil {
		return fmt.Errorf("put segment %s of %s: %w", digest.Hex(), j.file.Path, err)
	}
	w.mu.Lock()
	w.put[digest] = true
	w.mu.Unlock()
	w.meter.add(Progress{StoredBytes: int64(len(w.segment))})
	return nil
}

func (w *worker) hasPut(d manifest.Digest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.put[d]
}
