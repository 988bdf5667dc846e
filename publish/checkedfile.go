package publish

import (
	"errors"
	"fmt"
	"io"

	"github.com/qsync/qsync/manifest"
)

// File is a file of a snapshot, open for reading.
type File interface {
	io.ReaderAt
	io.Closer
}

// checkedFile reads whole chunks of a file and checks them against its index:
// what fits a signature is what is stored, or nothing.
type checkedFile struct {
	file  io.ReaderAt
	index *manifest.File
	tell  func(n int64) // is told how many bytes were read
}

// ReadAt implements [io.ReaderAt] for spans of whole chunks.
func (c *checkedFile) ReadAt(p []byte, offset int64) (int, error) {
	if n, err := c.file.ReadAt(p, offset); n < len(p) {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, fmt.Errorf("read at %d: %w", offset+int64(n), err)
	}
	number := int(offset / manifest.ChunkSize)
	for rest := p; len(rest) > 0; number += 2 {
		var pair [2][]byte
		for i := range pair {
			n := min(len(rest), manifest.ChunkSize)
			pair[i], rest = rest[:n], rest[n:]
		}
		var sums [2]manifest.Digest
		sums[0], sums[1] = manifest.SumPair(pair[0], pair[1])
		for i, chunk := range pair {
			if len(chunk) > 0 && sums[i] != c.index.Chunk(number+i) {
				return 0, fmt.Errorf("read at %d: it is not what was sealed: the fork does not hold still, or the disk fails",
					int64(number+i)*manifest.ChunkSize)
			}
		}
	}
	c.tell(int64(len(p)))
	return len(p), nil
}
