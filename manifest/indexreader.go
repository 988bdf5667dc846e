package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// ReadIndex parses an index object whose digest the caller has checked. rawSize
// is what the manifest says that it decompresses to; a reader needs about as
// much memory, however little the object is.
func ReadIndex(object io.Reader, rawSize int64) (x *Index, err error) {
	err = unpackIndex(object, rawSize, func(lines io.Reader) error {
		x, err = readLines(lines, rawSize)
		return err
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// WalkIndex calls fn for one file after the other of an index object, and needs memory
// for one only. The digest of the object may be checked afterwards: then fn must not yet
// believe what it is told. Files are checked each by itself. An error of fn ends the walk
// and is returned.
func WalkIndex(object io.Reader, rawSize int64, fn func(*File) error) error {
	return unpackIndex(object, rawSize, func(lines io.Reader) error {
		return eachLine(lines, rawSize, func(int) {}, func(f *File) error {
			if err := f.check(); err != nil {
				return err
			}
			return fn(f)
		})
	})
}

// unpackIndex hands the lines of an index object to use. There must be as many bytes of
// them as the manifest says.
func unpackIndex(object io.Reader, rawSize int64, use func(lines io.Reader) error) error {
	if rawSize > MaxIndexRawSize {
		return fmt.Errorf("%w: index of %d bytes", ErrLimit, rawSize)
	}
	dec, err := zstd.NewReader(object, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(MaxIndexWindow))
	if err != nil {
		return fmt.Errorf("%w: index: %w", ErrMalformed, err)
	}
	defer dec.Close()
	lines := &io.LimitedReader{R: dec, N: rawSize}
	err = use(lines)
	if lines.N == 0 {
		// Before the error: lines that break off at rawSize are a symptom.
		switch n, err := io.ReadFull(dec, make([]byte, 1)); {
		case n > 0:
			return fmt.Errorf("%w: index is longer than its manifest says", ErrLimit)
		case err != io.EOF:
			return fmt.Errorf("%w: index: %w", ErrMalformed, err)
		}
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return fmt.Errorf("%w: index: a zstd window of more than %d bytes", ErrLimit, MaxIndexWindow)
	}
	if err != nil {
		return err
	}
	if lines.N > 0 {
		return fmt.Errorf("%w: index is %d bytes shorter than its manifest says", ErrMalformed, lines.N)
	}
	return nil
}

// ReadLines parses what [Index.WriteLines] writes.
func ReadLines(r io.Reader) (*Index, error) {
	return readLines(io.LimitReader(r, MaxIndexRawSize), MaxIndexRawSize)
}

// readLines reads at most limit bytes. It allocates no more than they can fill.
func readLines(r io.Reader, limit int64) (*Index, error) {
	x := &Index{}
	begin := func(files int) { x.Files = make([]File, 0, min(int64(files), limit/minLine)) }
	err := eachLine(r, limit, begin, func(f *File) error {
		x.Files = append(x.Files, *f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return x, x.Check()
}

// eachLine calls begin with the number of files, and fn for each.
func eachLine(r io.Reader, limit int64, begin func(files int), fn func(*File) error) error {
	s := newIndexScanner(r, limit)
	files, err := readIndexHeader(s)
	if err != nil {
		return fmt.Errorf("index: header: %w", err)
	}
	begin(files)
	for i := range files {
		f, err := readFile(s)
		if err == nil {
			err = fn(&f)
		}
		if err != nil {
			return fmt.Errorf("index: line %d: %w", i+2, err)
		}
	}
	if err := s.end(); err != nil {
		return fmt.Errorf("index: behind the last line: %w", err)
	}
	return nil
}

func readIndexHeader(s *indexScanner) (files int, err error) {
	const most = 1 << 10
	line := s.until('\n', most)
	if s.err != nil {
		return 0, s.err
	}
	var head struct {
		Format        string `json:"format"`
		ChunkSize     int    `json:"chunk_size"`
		SegmentChunks int    `json:"segment_chunks"`
		Files         int    `json:"files"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case head.Format != indexFormat || head.ChunkSize != ChunkSize || head.SegmentChunks != SegmentChunks:
		return 0, fmt.Errorf("%w: %.80q with chunks of %d bytes, %d to a segment",
			ErrVersion, head.Format, head.ChunkSize, head.SegmentChunks)
	case head.Files < 0:
		return 0, fmt.Errorf("%w: %d files", ErrMalformed, head.Files)
	case head.Files > MaxFiles:
		return 0, fmt.Errorf("%w: %d files", ErrLimit, head.Files)
	case string(line) != indexHeader(head.Files):
		return 0, fmt.Errorf("%w: not in its one form", ErrMalformed)
	}
	s.literal("\n")
	return head.Files, s.err
}

// minLine is the length of the shortest line of a file.
const minLine = int64(len(`{"path":"p","size":0,"mode":"0644","chunks":"","segments":"","frames":[]}` + "\n"))

// readFile reads the line of a file. Its size comes first and says how long
// everything behind it must be.
func readFile(s *indexScanner) (File, error) {
	var f File
	s.literal(`{"path":"`)
	f.Path = s.path()
	s.literal(`","size":`)
	f.Size = s.number(MaxFileSize)
	s.literal(`,"mode":"`)
	f.Mode = s.mode()
	s.literal(`","chunks":"`)
	chunks := ChunkCount(f.Size)
	f.Chunks = s.base64(chunks * DigestSize)
	s.literal(`","segments":"`)
	f.Segments = s.base64(SegmentCount(chunks) * DigestSize)
	s.literal(`","frames":[`)
	f.Frames = s.frames(chunks)
	s.literal("]}\n")
	return f, s.err
}
