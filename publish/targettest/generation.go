package targettest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// Version is the version of a generation.
func Version(generation int) string {
	return time.Date(2026, 11, 22, 4, 0, generation, 0, time.UTC).Format(manifest.VersionFormat)
}

// NewManifest is the manifest of a generation as Commit wants it.
func NewManifest(generation int) *manifest.Manifest {
	return &manifest.Manifest{
		Channel:  Channel,
		Version:  Version(generation),
		Chain:    manifest.Chain{ID: Chain},
		Database: manifest.Database{Kind: "files"},
	}
}

// PutGeneration puts what the previous version does not have, and the files where
// a target is one of files.
func PutGeneration(ctx context.Context, run *publish.Run, generation int) (*manifest.Index, error) {
	return putGenerationAs(ctx, run, generation, Version(generation))
}

func putGenerationAs(ctx context.Context, run *publish.Run, generation int, version string) (*manifest.Index, error) {
	published := map[manifest.Digest]bool{}
	if _, previous := run.Previous(); previous != nil {
		for _, f := range previous.Files {
			for d := range slices.Chunk(f.Segments, manifest.DigestSize) {
				published[manifest.Digest(d)] = true
			}
		}
	}
	x, bodies := Generation(generation)
	for d, body := range bodies {
		if published[d] {
			continue
		}
		if err := run.Put(ctx, d, body); err != nil {
			return nil, err
		}
	}
	open := Open(generation)
	if _, previous := run.Previous(); run.FilesNeed() == publish.ChangedFiles {
		open = changed(open, x, previous)
	}
	return x, run.PutFiles(ctx, version, x, open, nil)
}

// Open opens the files of a generation.
func Open(generation int) func(path string) (publish.File, error) {
	return func(path string) (publish.File, error) {
		raw, ok := Raw(generation)[path]
		if !ok {
			return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
		return file{bytes.NewReader(raw)}, nil
	}
}

// changed opens the files as a fork that lacks those which are as in the previous version.
func changed(open func(path string) (publish.File, error), x, previous *manifest.Index) func(path string) (publish.File, error) {
	return func(path string) (publish.File, error) {
		now, _ := x.Find(path)
		before, ok := previous.Find(path)
		if ok && bytes.Equal(x.Files[now].Chunks, previous.Files[before].Chunks) {
			return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
		return open(path)
	}
}

type file struct{ io.ReaderAt }

func (file) Close() error { return nil }

// Raw are the files of a generation. From one to the next two change, one stays, one
// is empty, and one is nothing but zeros.
func Raw(n int) map[string][]byte {
	return map[string][]byte{
		"changing": fmt.Appendf(nil, "this is generation %d", n),
		"growing":  bytes.Repeat([]byte("block "), 10+n),
		"same":     []byte("always the same"),
		"void":     {},
		"zeros":    zeros,
	}
}

var zeros = make([]byte, 2*manifest.SegmentChunks*manifest.ChunkSize)

// Generation is the index of the files of a generation, and its segments. The file
// of zeros has two, which are the same.
func Generation(n int) (*manifest.Index, map[manifest.Digest][]byte) {
	x := &manifest.Index{}
	segments := map[manifest.Digest][]byte{}
	files := Raw(n)
	for _, path := range []string{"changing", "growing", "same"} {
		raw := files[path]
		chunk, body := manifest.Sum(raw), encoder().Append(nil, raw)
		d := manifest.Sum(body)
		segments[d] = body
		x.Files = append(x.Files, manifest.File{
			Path: path, Size: int64(len(raw)), Mode: 0o644,
			Chunks: chunk[:], Frames: []uint32{uint32(len(body))}, Segments: d[:],
		})
	}
	sparse, body := sparse()
	segments[manifest.Sum(body)] = body
	x.Files = append(x.Files, manifest.File{Path: "void", Mode: 0o644}, sparse)
	return x, segments
}

var encoder = sync.OnceValue(func() *manifest.FrameEncoder {
	e, err := manifest.NewFrameEncoder(1, 3)
	if err != nil {
		panic(err)
	}
	return e
})

// sparse is a file of zeros with two segments, which are the same.
var sparse = sync.OnceValues(func() (manifest.File, []byte) {
	const chunks = 2 * manifest.SegmentChunks
	chunk := make([]byte, manifest.ChunkSize)
	digest, frame := manifest.Sum(chunk), encoder().Append(nil, chunk)
	body := bytes.Repeat(frame, manifest.SegmentChunks)
	segment := manifest.Sum(body)
	return manifest.File{
		Path: "zeros", Size: chunks * manifest.ChunkSize, Mode: 0o644,
		Chunks:   bytes.Repeat(digest[:], chunks),
		Frames:   slices.Repeat([]uint32{uint32(len(frame))}, chunks),
		Segments: bytes.Repeat(segment[:], 2),
	}, body
})
