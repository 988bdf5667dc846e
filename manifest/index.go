package manifest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

const indexFormat = "qsync index v1"

// Index is the table of a snapshot: its files in ascending order of path.
type Index struct {
	Files []File
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
	if f.Size < 0 || f.Size > MaxFileSize {
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
		if n < 1 || n > MaxFrameSize {
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

// appendLine appends the line of the file. No path that [CheckPath] accepts
// needs escaping.
func (f *File) appendLine(b []byte) []byte {
	b = append(b, `{"path":"`...)
	b = append(b, f.Path...)
	b = append(b, `","size":`...)
	b = strconv.AppendInt(b, f.Size, 10)
	b = append(b, `,"mode":"`...)
	b = fmt.Appendf(b, "%04o", f.Mode)
	b = append(b, `","chunks":"`...)
	b = base64.StdEncoding.AppendEncode(b, f.Chunks)
	b = append(b, `","segments":"`...)
	b = base64.StdEncoding.AppendEncode(b, f.Segments)
	b = append(b, `","frames":[`...)
	for i, n := range f.Frames {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	return append(b, "]}\n"...)
}

func indexHeader(files int) []byte {
	return fmt.Appendf(nil, `{"format":%q,"chunk_size":%d,"segment_chunks":%d,"files":%d}`+"\n",
		indexFormat, ChunkSize, SegmentChunks, files)
}

// WriteLines writes the index as JSON lines: a header, then a line for each file.
func (x *Index) WriteLines(w io.Writer) error {
	if err := x.Check(); err != nil {
		return err
	}
	line := indexHeader(len(x.Files))
	for i := range x.Files {
		if _, err := w.Write(line); err != nil {
			return err
		}
		line = x.Files[i].appendLine(line[:0])
		if len(line) > MaxIndexLine {
			return fmt.Errorf("%w: file %.80q: its line has %d bytes", ErrLimit, x.Files[i].Path, len(line))
		}
	}
	_, err := w.Write(line)
	return err
}

// Marshal returns the index object: the lines, compressed. rawSize is the number
// of bytes of the lines.
func (x *Index) Marshal() (object []byte, rawSize int64, err error) {
	var buf bytes.Buffer
	enc, err := zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, 0, fmt.Errorf("make a zstd encoder: %w", err)
	}
	count := countingWriter{w: enc}
	if err := x.WriteLines(&count); err != nil {
		return nil, 0, err
	}
	if err := enc.Close(); err != nil {
		return nil, 0, fmt.Errorf("compress the index: %w", err)
	}
	return buf.Bytes(), count.n, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// ReadIndex parses an index object whose digest the caller has checked. rawSize
// is what the manifest says that it decompresses to.
func ReadIndex(object io.Reader, rawSize int64) (*Index, error) {
	if rawSize > MaxIndexRawSize {
		return nil, fmt.Errorf("%w: index of %d bytes", ErrLimit, rawSize)
	}
	dec, err := zstd.NewReader(object, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(MaxIndexWindow))
	if err != nil {
		return nil, fmt.Errorf("%w: index: %w", ErrMalformed, err)
	}
	defer dec.Close()
	lines := &io.LimitedReader{R: dec, N: rawSize}
	x, err := ReadLines(lines)
	if err != nil {
		return nil, err
	}
	if lines.N > 0 {
		return nil, fmt.Errorf("%w: index is %d bytes shorter than its manifest says", ErrMalformed, lines.N)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(dec, 1)); n > 0 {
		return nil, fmt.Errorf("%w: index is longer than its manifest says", ErrLimit)
	} else if err != nil {
		return nil, fmt.Errorf("%w: index: %w", ErrMalformed, err)
	}
	return x, nil
}

// ReadLines parses what [Index.WriteLines] writes.
func ReadLines(r io.Reader) (*Index, error) {
	br := bufio.NewReaderSize(r, 256<<10)
	line, err := readLine(br, nil)
	if err != nil {
		return nil, fmt.Errorf("index: header: %w", err)
	}
	var head struct {
		Format        string `json:"format"`
		ChunkSize     int    `json:"chunk_size"`
		SegmentChunks int    `json:"segment_chunks"`
		Files         int    `json:"files"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return nil, fmt.Errorf("%w: index: header: %w", ErrMalformed, err)
	}
	if head.Format != indexFormat || head.ChunkSize != ChunkSize || head.SegmentChunks != SegmentChunks {
		return nil, fmt.Errorf("%w: index: %q with chunks of %d bytes, %d to a segment",
			ErrVersion, head.Format, head.ChunkSize, head.SegmentChunks)
	}
	if head.Files < 0 || head.Files > MaxFiles {
		return nil, fmt.Errorf("%w: index: %d files", ErrLimit, head.Files)
	}
	if !bytes.Equal(line, indexHeader(head.Files)) {
		return nil, fmt.Errorf("%w: index: header is not in its one form", ErrMalformed)
	}
	x := &Index{}
	for i := range head.Files {
		if line, err = readLine(br, line); err != nil {
			return nil, fmt.Errorf("index: line %d: %w", i+2, err)
		}
		f, err := parseFile(line)
		if err != nil {
			return nil, fmt.Errorf("index: line %d: %w", i+2, err)
		}
		x.Files = append(x.Files, f)
	}
	if n, err := br.Read(make([]byte, 1)); n > 0 || (err != nil && err != io.EOF) {
		return nil, fmt.Errorf("%w: index: data after the last line", ErrMalformed)
	}
	return x, x.Check()
}

// readLine reads a line with its end into buf's memory.
func readLine(br *bufio.Reader, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for {
		part, err := br.ReadSlice('\n')
		buf = append(buf, part...)
		switch {
		case len(buf) > MaxIndexLine:
			return nil, fmt.Errorf("%w: line of more than %d bytes", ErrLimit, MaxIndexLine)
		case err == nil:
			return buf, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("%w: %w", ErrMalformed, noEOF(err))
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func parseFile(line []byte) (File, error) {
	s := lineScanner{rest: line}
	var f File
	s.literal(`{"path":"`)
	f.Path = string(s.until('"'))
	s.literal(`,"size":`)
	f.Size = s.number(MaxFileSize)
	s.literal(`,"mode":"`)
	f.Mode = s.mode()
	s.literal(`,"chunks":"`)
	f.Chunks = s.base64()
	s.literal(`,"segments":"`)
	f.Segments = s.base64()
	s.literal(`,"frames":[`)
	f.Frames = make([]uint32, 0, len(f.Chunks)/DigestSize)
	for len(f.Frames) < cap(f.Frames) && !s.failed {
		if len(f.Frames) > 0 {
			s.literal(",")
		}
		f.Frames = append(f.Frames, uint32(s.number(MaxFrameSize)))
	}
	s.literal("]}\n")
	if s.failed || len(s.rest) > 0 {
		return File{}, fmt.Errorf("%w: not a file's line, at byte %d", ErrMalformed, len(line)-len(s.rest))
	}
	return f, nil
}
