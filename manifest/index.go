package manifest

import (
	"fmt"
	"slices"
	"strings"
)

// Index is the table of a snapshot: its files in ascending order of path.
type Index struct {
	Files []File
}

// Find is the place of the file of a path. The index must be in order.
func (x *Index) Find(path string) (i int, ok bool) {
	return slices.BinarySearchFunc(x.Files, path, func(f File, path string) int { return strings.Compare(f.Path, path) })
}

// File is one file of an index: where its bytes are and what they must be.
type File struct {
	Path     string
	Size     int64    // bytes
	Mode     uint32   // permission bits, at most 0777
	Chunks   []byte   // the digests of its chunks, one after the other
	Segments []byte   // the digests of its segments, one after the other
	Frames   []uint32 // the length in bytes of each chunk's frame
}

// ChunkCount is the number of chunks of the file.
func (f *File) ChunkCount() int { return int(ChunkCount(f.Size)) }

// Chunk is the digest of chunk i.
func (f *File) Chunk(i int) Digest { return Digest(f.Chunks[i*DigestSize : (i+1)*DigestSize]) }

// ChunkLength is the number of bytes of chunk i.
func (f *File) ChunkLength(i int) int {
	return int(min(ChunkSize, f.Size-int64(i)*ChunkSize))
}

// SegmentCount is the number of segments of the file.
func (f *File) SegmentCount() int { return int(SegmentCount(ChunkCount(f.Size))) }

// Segment is the digest of segment i.
func (f *File) Segment(i int) Digest { return Digest(f.Segments[i*DigestSize : (i+1)*DigestSize]) }

// SegmentSpan is the first chunk of segment i and the number of its chunks.
func (f *File) SegmentSpan(i int) (first, n int) {
	a, b := SegmentSpan(ChunkCount(f.Size), int64(i))
	return int(a), int(b)
}

// SegmentOf is the segment that chunk i lies in.
func (f *File) SegmentOf(i int) int { return int(SegmentOf(ChunkCount(f.Size), int64(i))) }

// StoredSize is the number of bytes of the file's frames.
func (f *File) StoredSize() int64 {
	var n int64
	for _, l := range f.Frames {
		n += int64(l)
	}
	return n
}

// Totals are the sums over an index that its manifest repeats.
type Totals struct {
	Files      int   // number of files
	Chunks     int64 // number of chunks
	RawSize    int64 // bytes of the files
	StoredSize int64 // bytes of the files' frames; a segment that occurs twice counts twice
}

// Totals sums up the index.
func (x *Index) Totals() Totals {
	t := Totals{Files: len(x.Files)}
	for i := range x.Files {
		f := &x.Files[i]
		t.Chunks += int64(f.ChunkCount())
		t.RawSize += f.Size
		t.StoredSize += f.StoredSize()
	}
	return t
}

// check reports whether the numbers of the file agree with each other.
func (f *File) check() error {
	bad := func(class error, format string, args ...any) error {
		return fmt.Errorf("%w: file %.80q: %s", class, f.Path, fmt.Sprintf(format, args...))
	}
	if err := CheckPath(f.Path); err != nil {
		return err
	}
	if f.Size < 0 {
		return bad(ErrMalformed, "size %d", f.Size)
	}
	if f.Size > MaxFileSize {
		return bad(ErrLimit, "size %d", f.Size)
	}
	if f.Mode > 0o777 {
		return bad(ErrMalformed, "mode %#o has more than permission bits", f.Mode)
	}
	chunks := ChunkCount(f.Size)
	if int64(len(f.Chunks)) != chunks*DigestSize || int64(len(f.Frames)) != chunks {
		return bad(ErrMalformed, "size %d needs %d chunks, there are %d bytes of digests and %d frames",
			f.Size, chunks, len(f.Chunks), len(f.Frames))
	}
	if want := SegmentCount(chunks) * DigestSize; int64(len(f.Segments)) != want {
		return bad(ErrMalformed, "%d chunks need %d bytes of segment digests, there are %d", chunks, want, len(f.Segments))
	}
	for i, n := range f.Frames {
		if n < 1 {
			return bad(ErrMalformed, "frame %d has no bytes", i)
		}
		if n > MaxFrameSize {
			return bad(ErrLimit, "frame %d has %d bytes", i, n)
		}
	}
	return nil
}

// Check reports whether the index can be restored safely: every file within
// the limits and in agreement with itself, the paths safe side by side.
func (x *Index) Check() error {
	if len(x.Files) > MaxFiles {
		return fmt.Errorf("%w: %d files", ErrLimit, len(x.Files))
	}
	var raw int64
	for i := range x.Files {
		if err := x.Files[i].check(); err != nil {
			return err
		}
		if raw += x.Files[i].Size; raw > MaxRawSize {
			return fmt.Errorf("%w: the files have more than %d bytes", ErrLimit, int64(MaxRawSize))
		}
	}
	return checkPaths(x.Files)
}
