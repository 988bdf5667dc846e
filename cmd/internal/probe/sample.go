package probe

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/status"
)

const (
	// spansPerSample is how many requests a sample is read by at least, if it has so many
	// chunks, and maxSpan how many chunks one is for at most.
	spansPerSample = 4
	maxSpan        = 4
	// maxSpans is how many are drawn from an index at most: half a KiB each.
	maxSpans = 128
	// sampleTime is how long a sample is read. A location that sends less than all of it
	// meanwhile is slow, and not down.
	sampleTime = 30 * time.Second
	// indexTime is how long an index may take, and a second more for each slowestIndex
	// bytes of it.
	indexTime    = time.Minute
	slowestIndex = 1 << 20
)

// span is a run of chunks in one segment of a file.
type span struct {
	path    string
	size    int64  // of the file
	first   int    // chunk of the file
	digests []byte // of the chunks, one after the other
	frames  []uint32
	segment manifest.Digest
	offset  int64 // of the first frame in the segment
	stored  int64 // bytes of the segment
}

// zeros is the digest of a chunk that nobody fetches: a hole serves.
var zeros = sync.OnceValue(func() manifest.Digest { return manifest.Sum(make([]byte, manifest.ChunkSize)) })

// draw draws spans from the index of a version, which it reads for that: no index is kept,
// and each is checked now and then. Spans that are left come before the new ones.
func (r *Reader) draw(ctx context.Context, p *Place, source fetcher.Source, m *manifest.Manifest) error {
	if r.Room != nil {
		need := min(m.Index.RawSize+manifest.MaxIndexWindow, indexRoom)
		if err := r.Room.Acquire(ctx, need); err != nil {
			return err
		}
		defer r.Room.Release(need)
	}
	err := within(ctx, indexTime+time.Duration(m.Index.Size/slowestIndex)*time.Second, func(ctx context.Context) error {
		return r.drawFrom(ctx, p, source, m)
	})
	if err != nil {
		return fmt.Errorf("get %s from %s: %w", manifest.IndexKey(m.Index.Digest), source, err)
	}
	return nil
}

func (r *Reader) drawFrom(ctx context.Context, p *Place, source fetcher.Source, m *manifest.Manifest) error {
	object := m.Index
	body, err := source.Open(ctx, fetcher.Span{Key: manifest.IndexKey(object.Digest), Length: object.Size, Size: object.Size})
	if err != nil {
		return err
	}
	defer body.Close()
	hash := sha256.New()
	all := io.TeeReader(body, hash)
	length := int(min(max(1, r.Sample/(spansPerSample*manifest.ChunkSize)), maxSpan))
	spans, err := drawSpans(all, m, length, min(2*max(1, r.Ahead)*spansPerSample, maxSpans)) // some are shorter
	if _, readErr := io.Copy(io.Discard, all); readErr != nil {                              // what is left of it
		return readErr
	}
	if got := manifest.Digest(hash.Sum(nil)); got != object.Digest {
		return fmt.Errorf("its digest is %s", got)
	}
	if err != nil {
		return err
	}
	rand.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
	p.index, p.spans = object.Digest, append(p.spans, spans...)
	return nil
}

// left is how many bytes the spans are that come next.
func (p *Place) left() (n int64) {
	for _, s := range p.spans {
		at, _ := s.place(p, "")
		n += at.Length
	}
	return n
}

// drawSpans draws spans of up to length chunks. Those that hold nothing but zeros are
// left out.
func drawSpans(index io.Reader, m *manifest.Manifest, length, n int) (spans []span, err error) {
	var drawn []int64 // numbers of chunks, counted over all files
	for range n {
		if m.Chunks > 0 {
			drawn = append(drawn, rand.Int64N(m.Chunks))
		}
	}
	slices.Sort(drawn)
	drawn = slices.Compact(drawn)
	begin := int64(0)
	err = manifest.WalkIndex(index, m.Index.RawSize, func(f *manifest.File) error {
		end := begin + int64(f.ChunkCount())
		for len(drawn) > 0 && drawn[0] < end {
			if s, ok := spanOf(f, int(drawn[0]-begin), length); ok {
				spans = append(spans, s)
			}
			drawn = drawn[1:]
		}
		begin = end
		return nil
	})
	return spans, err
}

// spanOf is the span that begins at a chunk of a file, or behind zeros there.
func spanOf(f *manifest.File, chunk, length int) (s span, ok bool) {
	number := f.SegmentOf(chunk)
	first, n := f.SegmentSpan(number)
	end := min(chunk+length, first+n)
	for chunk < end && f.Chunk(chunk) == zeros() {
		chunk++
	}
	if chunk == end {
		return s, false
	}
	s = span{
		path: f.Path, size: f.Size, first: chunk, segment: f.Segment(number), frames: slices.Clone(f.Frames[chunk:end]),
		digests: slices.Clone(f.Chunks[chunk*manifest.DigestSize : end*manifest.DigestSize]),
	}
	for i, length := range f.Frames[first : first+n] {
		if first+i < chunk {
			s.offset += int64(length)
		}
		s.stored += int64(length)
	}
	return s, true
}

// place is what to ask for, and lengths how many bytes its chunks arrive as.
func (s *span) place(p *Place, version string) (at fetcher.Span, lengths []int) {
	file := manifest.File{Size: s.size}
	at = fetcher.Span{Key: manifest.SegmentKey(s.segment), Offset: s.offset, Size: s.stored}
	if p.Files {
		at = fetcher.Span{Key: manifest.RawFileKey(p.Channel, version, s.path), Offset: int64(s.first) * manifest.ChunkSize, Size: s.size}
	}
	for i, frame := range s.frames {
		length := int(frame)
		if p.Files {
			length = file.ChunkLength(s.first + i)
		}
		lengths = append(lengths, length)
		at.Length += int64(length)
	}
	return at, lengths
}

// readSample reads spans, and notes how fast they come. One that fails comes first again,
// until it is read.
func (r *Reader) readSample(ctx context.Context, p *Place, source fetcher.Source, m *manifest.Manifest, seen *status.Probe) error {
	within, cancel := context.WithTimeout(ctx, sampleTime)
	defer cancel()
	decoder, err := frames()
	if err != nil {
		return err
	}
	start := time.Now()
	slow := false
	for len(p.spans) > 0 && !slow {
		at, lengths := p.spans[0].place(p, m.Version)
		if seen.Bytes > 0 && seen.Bytes+at.Length > r.Sample {
			break
		}
		n, err := p.spans[0].read(within, source, at, lengths, p.Files, decoder)
		seen.Bytes += n
		late := within.Err() != nil && ctx.Err() == nil
		slow = late && seen.Bytes > 0 // of a chunk at least one knows that it is there
		switch {
		case err != nil && late && !slow:
			return fmt.Errorf("%w: not a chunk in %s: %w", errSlow, sampleTime, err)
		case err != nil && !slow:
			return err
		}
		p.spans = p.spans[1:]
	}
	if took := time.Since(start).Seconds(); seen.Bytes > 0 && took > 0 {
		seen.BytesPerSecond = float64(seen.Bytes) / took
	}
	return nil
}

// frames decompresses the frames of all probes.
var frames = sync.OnceValues(manifest.NewFrameDecoder)

// read reads a span and checks its chunks. n is how many bytes of checked ones have come.
func (s *span) read(ctx context.Context, source fetcher.Source, at fetcher.Span, lengths []int, raw bool, decoder *manifest.FrameDecoder) (n int64, err error) {
	body, err := source.Open(ctx, at)
	if err != nil {
		return 0, fmt.Errorf("get %s from %s: %w", at.Key, source, err)
	}
	defer body.Close()
	arrived, room := make([]byte, slices.Max(lengths)), make([]byte, manifest.MaxFrameSize)
	file := manifest.File{Size: s.size}
	for i, length := range lengths {
		fail := func(err error) (int64, error) {
			return n, fmt.Errorf("get %s from %s: chunk %d of %s: %w", at.Key, source, s.first+i, s.path, err)
		}
		if _, err := io.ReadFull(body, arrived[:length]); errors.Is(err, io.EOF) {
			return fail(io.ErrUnexpectedEOF)
		} else if err != nil {
			return fail(err)
		}
		chunk := arrived[:length]
		if !raw {
			if chunk, err = decoder.Decode(chunk, room, file.ChunkLength(s.first+i)); err != nil {
				return fail(err)
			}
		}
		if got, want := manifest.Sum(chunk), manifest.Digest(s.digests[i*manifest.DigestSize:][:manifest.DigestSize]); got != want {
			return fail(fmt.Errorf("its digest is %s, and must be %s", got, want))
		}
		n += int64(length)
	}
	return n, nil
}
