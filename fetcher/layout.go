package fetcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest"
)

// layout is how a source holds the chunks of a snapshot, and so how they travel.
type layout interface {
	// span is what to ask for to get the chunks [from, to) of a file, which
	// lie in one segment.
	span(file, from, to int) Span
	// length is how many bytes a chunk of a file arrives as.
	length(file, chunk int) int
	// unpack returns the chunk of size bytes that is in what arrived. It may
	// overwrite arrived and use the room of buf.
	unpack(arrived, buf []byte, size int) ([]byte, error)
	// gap is how many bytes that are not needed a request may run over rather
	// than being split in two.
	gap() int64
	// lost is how many chunks of a segment a source lacks that does not have one.
	lost() int
	// String names the layout in a plan.
	String() string
}

// segments are the objects that a publisher's own format has: compressed frames,
// one after the other.
type segments struct {
	index  *manifest.Index
	frames *manifest.FrameDecoder
}

func (s *segments) String() string { return "segments" }

func (s *segments) lost() int { return manifest.SegmentChunks }

// gap lets a request run over frames of zeros and the like.
func (s *segments) gap() int64 { return 64 << 10 }

func (s *segments) length(file, chunk int) int { return int(s.index.Files[file].Frames[chunk]) }

func (s *segments) unpack(arrived, buf []byte, size int) ([]byte, error) {
	return s.frames.Decode(arrived, buf, size)
}

func (s *segments) span(file, from, to int) Span {
	f := &s.index.Files[file]
	segment := f.SegmentOf(from)
	first, n := f.SegmentSpan(segment)
	span := Span{Key: manifest.SegmentKey(f.Segment(segment))}
	for i := first; i < first+n; i++ {
		length := int64(f.Frames[i])
		span.Size += length
		if i < from {
			span.Offset += length
		} else if i < to {
			span.Length += length
		}
	}
	return span
}

// rawFiles are the files of the database as they are.
type rawFiles struct {
	index  *manifest.Index
	prefix string // of their keys
}

func (r *rawFiles) String() string { return "files" }

func (r *rawFiles) lost() int { return manifest.SegmentChunks }

// gap is none: what is held or a hole is a whole chunk.
func (r *rawFiles) gap() int64 { return 0 }

func (r *rawFiles) length(file, chunk int) int { return r.index.Files[file].ChunkLength(chunk) }

func (r *rawFiles) unpack(arrived, _ []byte, _ int) ([]byte, error) { return arrived, nil }

func (r *rawFiles) span(file, from, to int) Span {
	f := &r.index.Files[file]
	begin, end := int64(from)*manifest.ChunkSize, min(int64(to)*manifest.ChunkSize, f.Size)
	return Span{Key: r.prefix + f.Path, Offset: begin, Length: end - begin, Size: f.Size}
}

// chunks are the chunks of the database, each by its digest.
type chunks struct{ rawFiles }

func (c *chunks) String() string { return "chunks" }

func (c *chunks) span(file, from, to int) Span {
	span := c.rawFiles.span(file, from, to)
	span.Chunks = c.index.Files[file].Chunks[from*manifest.DigestSize : to*manifest.DigestSize]
	return span
}

func (c *chunks) lost() int { return 1 }

const (
	// probeTimeout is how long a source may take to say which layout it has.
	probeTimeout = 15 * time.Second
	probesAtOnce = 8
	// probeTries take a few seconds: a source that is left out is missed for hours.
	probeTries = 5
)

// findLayouts asks each source for the meta file that stands beside the raw files
// of a version. One that has it, and for the same snapshot, serves files; one that
// has none, or another one, segments. An [Addressed] source has segments, or else
// chunks. One that cannot be asked is left out.
func (s *snapshot) findLayouts(ctx context.Context, log *slog.Logger) error {
	frames, err := manifest.NewFrameDecoder()
	if err != nil {
		return err
	}
	bySegment := &segments{s.table.index, frames}
	byFile := &rawFiles{s.table.index, manifest.RawFileKey(s.channel, s.version, "")}
	byChunk := &chunks{*byFile}
	s.layouts = make([]layout, len(s.sources))
	failed := make([]error, len(s.sources))
	unpaid := make([]error, len(s.sources)) // they would not say before somebody pays
	var group errgroup.Group
	group.SetLimit(probesAtOnce)
	for i, source := range s.sources {
		group.Go(func() error {
			s.layouts[i] = bySegment
			if a, ok := source.(Addressed); ok {
				var has bool
				if has, failed[i] = hasSegments(ctx, a, s.manifest.IPFS); !has {
					s.layouts[i] = byChunk
				}
				return nil
			}
			var why error
			if why, failed[i] = lacksFiles(ctx, source, s.manifest); errors.Is(why, ErrConsent) {
				unpaid[i] = why
			}
			if why != nil {
				log.Debug("source has no raw files", "source", source.String(), "err", why)
			} else {
				s.layouts[i] = byFile
			}
			return nil
		})
	}
	_ = group.Wait() // none of them fails
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !slices.Contains(unpaid, nil) {
		return errors.Join(unpaid...)
	}
	return s.leaveOut(failed, log)
}

// leaveOut leaves out the sources that have failed.
func (s *snapshot) leaveOut(failed []error, log *slog.Logger) error {
	var sources []Source
	var layouts []layout
	for i, err := range failed {
		if err != nil {
			log.Warn("source passed over", "source", s.sources[i].String(), "err", err)
			continue
		}
		sources, layouts = append(sources, s.sources[i]), append(layouts, s.layouts[i])
	}
	if s.sources, s.layouts = sources, layouts; len(sources) == 0 {
		return worst(failed)
	}
	return nil
}

func hasSegments(ctx context.Context, s Addressed, roots *manifest.IPFS) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return backoff.Retry(ctx, func() (bool, error) { return s.HasSegments(ctx, roots) }, smallObjectRetries()...)
}

// lacksFiles says why a source has not the raw files of a version, nil if it has. A
// refusal that is for good says so too: a store that may not be listed refuses what
// is missing. Any other failure says nothing.
func lacksFiles(ctx context.Context, s Source, m *manifest.Manifest) (why, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	key := manifest.VersionMetaKey(m.Channel, m.Version)
	forGood := false
	body, err := backoff.Retry(ctx, func() ([]byte, error) {
		body, err := s.Get(ctx, key, manifest.MaxVersionMetaSize)
		if forGood = errors.Is(err, ErrNotFound) || errors.As(err, new(*backoff.PermanentError)); forGood {
			err = backoff.Permanent(err)
		}
		return body, err
	}, append(smallObjectRetries(), backoff.WithMaxTries(probeTries))...)
	switch {
	case forGood:
		return err, nil
	case err != nil:
		return nil, fmt.Errorf("get %s from %s: %w", key, s, err)
	}
	meta, err := manifest.ParseVersionMeta(body)
	if err == nil && (meta.Version != m.Version || meta.Size != m.RawSize) {
		err = fmt.Errorf("its meta file speaks of version %.40q with %d bytes", meta.Version, meta.Size)
	}
	return err, nil
}
