package snapshot

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest"
)

var (
	zeros      = make([]byte, manifest.ChunkSize)
	zeroDigest = manifest.Sum(zeros)
)

// source reads the chunks of one file of a fork. It is for one goroutine.
type source struct {
	file *os.File
	path string
	size int64 // at the cut; nothing beyond it is read
	// holes says that the file has fewer blocks than bytes, so that it pays to
	// ask where its data is.
	holes bool
	read  int64 // bytes read and not yet taken by takeRead
}

func openSource(fork Fork, path string, size int64) (*source, error) {
	file, err := fork.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s in the fork: %w", path, err)
	}
	s := &source{file: file, path: path, size: size}
	st, err := s.stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	s.holes = st.Blocks*512 < st.Size
	return s, nil
}

func (s *source) close() { s.file.Close() }

// stat fails if the file is shorter than at the cut. Data that is gone would
// look like a hole.
func (s *source) stat() (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(s.file.Fd()), &st); err != nil {
		return nil, fmt.Errorf("stat %s in the fork: %w", s.path, err)
	}
	if st.Size < s.size {
		return nil, fmt.Errorf("read %s at %d: it had %d bytes at the cut and has %d now: the node cut it back, and this fork does not freeze that",
			s.path, st.Size, s.size, st.Size)
	}
	return &st, nil
}

// chunk reads chunk i, in buf's memory or, if it is in a hole, not.
func (s *source) chunk(i int, buf []byte) ([]byte, error) {
	at := int64(i) * manifest.ChunkSize
	n := min(manifest.ChunkSize, s.size-at)
	if s.holes && s.isHole(at, n) {
		return zeros[:n], nil
	}
	buf = buf[:n]
	got, err := s.file.ReadAt(buf, at)
	s.read += int64(got)
	if errors.Is(err, io.EOF) && got < len(buf) {
		err = io.ErrUnexpectedEOF
	}
	if got < len(buf) {
		return nil, fmt.Errorf("read %s at %d: %w", s.path, at+int64(got), err)
	}
	return buf, nil
}

// sums are the digests of two chunks, which take little longer than one. Those in
// holes are known.
func sums(a, b []byte) (manifest.Digest, manifest.Digest) {
	switch aIsHole, bIsHole := isZeros(a), isZeros(b); {
	case aIsHole && bIsHole:
		return zeroDigest, zeroDigest
	case aIsHole:
		return zeroDigest, manifest.Sum(b)
	case bIsHole:
		return manifest.Sum(a), zeroDigest
	}
	return manifest.SumPair(a, b)
}

// isZeros reports whether a chunk is the one that stands for a hole.
func isZeros(chunk []byte) bool { return len(chunk) == manifest.ChunkSize && &chunk[0] == &zeros[0] }

// takeRead is the number of bytes read since it was last called.
func (s *source) takeRead() int64 {
	n := s.read
	s.read = 0
	return n
}

// isHole reports whether there is no data in n bytes at an offset.
func (s *source) isHole(at, n int64) bool {
	data, err := unix.Seek(int(s.file.Fd()), at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return true // none up to the end
	}
	return err == nil && data >= at+n
}

// finish checks that nothing that was read as a hole has been cut off.
func (s *source) finish() error {
	if !s.holes {
		return nil
	}
	_, err := s.stat()
	return err
}
