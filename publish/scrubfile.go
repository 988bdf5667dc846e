package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/qsync/qsync/manifest"
)

// settleFiles settles those of the suspects that belong to a version of files, and
// takes them off.
func (s *scrubbing) settleFiles(ctx context.Context, t Target, v *scrubbed, x *manifest.Index, suspects map[string]bool) error {
	prefix := filesPrefix(v.channel, v.snapshot.Version)
	texts := textsOf(v, x)
	for key := range suspects {
		var err error
		if text, ok := texts[key]; ok {
			err = s.settleText(ctx, t, v, key, text)
		} else if i, ok := x.Find(strings.TrimPrefix(key, prefix)); ok && strings.HasPrefix(key, prefix) {
			err = s.settleFile(ctx, t, v, key, &x.Files[i])
		} else {
			continue
		}
		if err != nil {
			return err
		}
		delete(suspects, key)
	}
	return nil
}

func (s *scrubbing) settleText(ctx context.Context, t Target, v *scrubbed, key string, text []byte) error {
	wrong, err := s.textWrong(ctx, t, key, text)
	if err != nil {
		return err
	}
	if wrong == "" {
		s.foundWhole(t, key)
		return nil
	}
	s.foundBroken(ctx, t, key, wrong, []string{v.String()}, func() (string, error) {
		f, _ := filesOf(t)
		return "the index", putText(ctx, filesTarget{Target: t, Files: f}, key, text)
	})
	return nil
}

func (s *scrubbing) settleFile(ctx context.Context, t Target, v *scrubbed, key string, f *manifest.File) error {
	wrong, bad, err := s.fileWrong(ctx, t, key, f)
	if err != nil {
		return err
	}
	if wrong == "" {
		s.foundWhole(t, key)
		return nil
	}
	s.foundBroken(ctx, t, key, wrong, []string{v.String()}, func() (from string, err error) {
		return s.mendFile(ctx, t, v, key, f, bad)
	})
	return nil
}

// fileWrong is what is wrong with a file, and which of its chunks.
func (s *scrubbing) fileWrong(ctx context.Context, t Target, key string, f *manifest.File) (wrong string, bad []int, err error) {
	if wrong, err = sizeWrong(ctx, t, key, f.Size); err != nil {
		return "", nil, err
	}
	all := make([]int, f.ChunkCount())
	for i := range all {
		all[i] = i
	}
	if wrong == wrongMissing {
		return wrong, all, nil
	}
	if bad, err = s.badAmong(ctx, t, key, f, all); err != nil {
		return "", nil, err
	}
	if wrong == "" && len(bad) > 0 {
		wrong = fmt.Sprintf("%s: at %d, and in %d of %d chunks in all", wrongContent, int64(bad[0])*manifest.ChunkSize, len(bad), f.ChunkCount())
	}
	return wrong, bad, nil
}

// badAmong are the bad ones of what is read at once with some chunks of a file.
func (s *scrubbing) badAmong(ctx context.Context, t Target, key string, f *manifest.File, some []int) (bad []int, err error) {
	end := 0
	for _, i := range some {
		if i < end {
			continue
		}
		first := i - i%fileChunks
		found, err := s.badChunks(ctx, t, key, f, first)
		if err != nil {
			return nil, err
		}
		bad, end = append(bad, found...), first+fileChunks
	}
	return bad, nil
}

// mendFile makes a file of the chunks of it that are whole, and of others' where
// they are not. A file that was mended before serves for the same one of another
// version: on a disk they share their room again.
func (s *scrubbing) mendFile(ctx context.Context, t Target, v *scrubbed, key string, f *manifest.File, bad []int) (from string, err error) {
	files, _ := filesOf(t)
	same := fmt.Sprintf("%s\n%s\n%s", t, f.Path, manifest.Sum(f.Chunks))
	if other, ok := s.renewed[same]; ok && other != key {
		if wrong, _, err := s.fileWrong(ctx, t, other, f); err == nil && wrong == "" {
			return other, files.Copy(ctx, key, other)
		}
	}
	c := &rawContent{ctx: ctx, s: s, not: t, version: v, file: f}
	if c.frames, err = manifest.NewFrameDecoder(); err != nil {
		return "", err
	}
	good := *f
	good.Chunks = slices.Clone(f.Chunks)
	for _, i := range bad {
		clear(good.Chunks[i*manifest.DigestSize : (i+1)*manifest.DigestSize])
	}
	err = files.Assemble(ctx, key, pieces(f, &good, key), c)
	if errors.Is(err, errNowhere) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	// The others were seen to be whole, and copied.
	wrong, err := sizeWrong(ctx, t, key, f.Size)
	if err == nil && wrong == "" {
		bad, err = s.badAmong(ctx, t, key, f, bad)
	}
	if err == nil && (wrong != "" || len(bad) > 0) {
		err = errors.New(cmp.Or(wrong, wrongContent))
	}
	if err != nil {
		return "", fmt.Errorf("assembled anew: %w", err)
	}
	s.renewed[same] = key
	return "the other targets", nil
}

// rawContent reads chunks of a file from wherever they are.
type rawContent struct {
	ctx     context.Context // of the one call that reads
	s       *scrubbing
	not     Target // has it broken
	version *scrubbed
	file    *manifest.File
	frames  *manifest.FrameDecoder
}

// errNowhere says that no target has a chunk.
var errNowhere = errors.New("no target has it whole")

// ReadAt implements [io.ReaderAt] for spans of whole chunks.
func (c *rawContent) ReadAt(p []byte, offset int64) (n int, err error) {
	for i := int(offset / manifest.ChunkSize); n < len(p); i++ {
		chunk, err := c.chunk(i)
		if err != nil {
			return n, fmt.Errorf("find chunk %d: %w", i, err)
		}
		n += copy(p[n:], chunk)
	}
	return n, nil
}

var _ io.ReaderAt = (*rawContent)(nil)

func (c *rawContent) chunk(i int) ([]byte, error) {
	f := c.file
	if err := c.s.wait(c.ctx, int64(f.ChunkLength(i))); err != nil {
		return nil, err
	}
	last := errNowhere
	for _, t := range c.s.p.Targets {
		var chunk []byte
		var err error
		if _, files := filesOf(t); !files {
			chunk, err = c.decode(t, i)
		} else if t.String() != c.not.String() {
			key := manifest.RawFileKey(c.version.channel, c.version.snapshot.Version, f.Path)
			chunk, err = t.Read(c.ctx, key, int64(i)*manifest.ChunkSize, int64(f.ChunkLength(i)))
		}
		if err == nil && len(chunk) == f.ChunkLength(i) && manifest.Sum(chunk) == f.Chunk(i) {
			return chunk, nil
		}
		if err != nil && !isBroken(err) && !errors.Is(err, manifest.ErrMalformed) && !errors.Is(err, manifest.ErrLimit) {
			last = err
		}
	}
	return nil, last
}

// decode reads a chunk from its segment.
func (c *rawContent) decode(t Target, i int) ([]byte, error) {
	f := c.file
	number := f.SegmentOf(i)
	first, _ := f.SegmentSpan(number)
	var offset int64
	for _, n := range f.Frames[first:i] {
		offset += int64(n)
	}
	frame, err := t.Read(c.ctx, manifest.SegmentKey(f.Segment(number)), offset, int64(f.Frames[i]))
	if err != nil {
		return nil, err
	}
	return c.frames.Decode(frame, nil, f.ChunkLength(i))
}
