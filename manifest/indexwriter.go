package manifest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

const indexFormat = "qsync index v1"

func indexHeader(files int) string {
	return fmt.Sprintf(`{"format":%q,"chunk_size":%d,"segment_chunks":%d,"files":%d}`,
		indexFormat, ChunkSize, SegmentChunks, files)
}

// WriteLines writes the index as JSON lines: a header, then a line for each file.
func (x *Index) WriteLines(w io.Writer) error {
	if err := x.Check(); err != nil {
		return err
	}
	bw := bufio.NewWriterSize(w, 64<<10)
	bw.WriteString(indexHeader(len(x.Files)))
	bw.WriteByte('\n')
	for i := range x.Files {
		x.Files[i].writeLine(bw)
	}
	return bw.Flush()
}

// writeLine writes the line of the file; bw keeps the first error. No path that
// [CheckPath] accepts needs escaping.
func (f *File) writeLine(bw *bufio.Writer) {
	fmt.Fprintf(bw, `{"path":"%s","size":%d,"mode":"%04o","chunks":"`, f.Path, f.Size, f.Mode)
	writeBase64(bw, f.Chunks)
	bw.WriteString(`","segments":"`)
	writeBase64(bw, f.Segments)
	bw.WriteString(`","frames":[`)
	for i, n := range f.Frames {
		if i > 0 {
			bw.WriteByte(',')
		}
		bw.Write(strconv.AppendUint(bw.AvailableBuffer(), uint64(n), 10))
	}
	bw.WriteString("]}\n")
}

func writeBase64(bw *bufio.Writer, b []byte) {
	const step = 3 << 10 // three bytes are four characters: only the last step pads
	for part := range slices.Chunk(b, step) {
		bw.Write(base64.StdEncoding.AppendEncode(bw.AvailableBuffer(), part))
	}
}

// Marshal returns the index object: the lines, compressed. rawSize is the number
// of bytes of the lines.
func (x *Index) Marshal() (object []byte, rawSize int64, err error) {
	t := x.Totals()
	// Digests do not shrink, and growing by doubling would hold them thrice.
	buf := bytes.NewBuffer(make([]byte, 0, (t.Chunks+t.Chunks/SegmentChunks)*(DigestSize+4)+int64(t.Files)*64))
	enc, err := zstd.NewWriter(buf, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(indexWindow))
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
	if count.n > MaxIndexRawSize || buf.Len() > MaxIndexSize {
		return nil, 0, fmt.Errorf("%w: index of %d bytes, %d compressed", ErrLimit, count.n, buf.Len())
	}
	return buf.Bytes(), count.n, nil
}

// indexWindow is the zstd window of the index that is written: it has little
// to find, and the reader keeps as much in memory.
const indexWindow = 1 << 20

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
