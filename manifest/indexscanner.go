package manifest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
)

// indexScanner reads the lines of an index, which have one form only: a general
// JSON parser would accept many, need three times as long, and hold a line of
// 55 MB for a file of a million chunks. It keeps the first error and gives
// zeros after it.
type indexScanner struct {
	br   *bufio.Reader
	left int64 // bytes that may still come
	err  error
}

func newIndexScanner(r io.Reader, limit int64) *indexScanner {
	return &indexScanner{br: bufio.NewReaderSize(r, 64<<10), left: limit}
}

func (s *indexScanner) fail(class error, format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s", class, fmt.Sprintf(format, args...))
	}
}

// peek returns the next n bytes, or fewer at the end of the input.
func (s *indexScanner) peek(n int) []byte {
	if s.err != nil {
		return nil
	}
	b, err := s.br.Peek(n)
	if err != nil && err != io.EOF {
		s.err = fmt.Errorf("%w: %w", ErrMalformed, err)
		return nil
	}
	return b
}

// skip passes over n bytes that peek has shown.
func (s *indexScanner) skip(n int) {
	s.br.Discard(n) //nolint:errcheck // the bytes are in the buffer
	s.left -= int64(n)
}

func (s *indexScanner) literal(want string) {
	if got := s.peek(len(want)); string(got) != want {
		s.fail(ErrMalformed, "want %q, got %q", want, got)
		return
	}
	s.skip(len(want))
}

// until returns what stands before the next end, if that is within most bytes,
// and passes over it but not over end.
func (s *indexScanner) until(end byte, most int) []byte {
	b := s.peek(most + 1)
	for i, c := range b {
		if c == end {
			s.skip(i)
			return b[:i]
		}
	}
	if len(b) <= most {
		s.fail(ErrMalformed, "ends before a %q", end)
	}
	s.fail(ErrLimit, "%.40q… is longer than %d bytes", b, most)
	return nil
}

// path reads what stands before a quote; an index's Check judges it.
func (s *indexScanner) path() string { return string(s.until('"', MaxPathLength)) }

// number reads a decimal number of 0 to most without sign or leading zeros.
func (s *indexScanner) number(most int64) int64 {
	const digits = len("9223372036854775807")
	b := s.peek(digits + 1)
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	value, err := strconv.ParseInt(string(b[:n]), 10, 64)
	switch {
	case err != nil || (n > 1 && b[0] == '0'):
		s.fail(ErrMalformed, "want a number, got %q", b)
		return 0
	case value > most:
		s.fail(ErrLimit, "number %d is above %d", value, most)
		return 0
	}
	s.skip(n)
	return value
}

// mode reads four octal digits.
func (s *indexScanner) mode() uint32 {
	b := s.peek(4)
	mode, err := strconv.ParseUint(string(b), 8, 32)
	if err != nil || len(b) != 4 {
		s.fail(ErrMalformed, "want a mode of four octal digits, got %q", b)
		return 0
	}
	s.skip(len(b))
	return uint32(mode)
}

// base64 reads the canonical base64 of size bytes.
func (s *indexScanner) base64(size int64) []byte {
	text := int64(base64.StdEncoding.EncodedLen(int(size)))
	if s.err == nil && text > s.left {
		s.fail(ErrMalformed, "ends in its digests")
	}
	if s.err != nil {
		return nil
	}
	// The room beyond the size is for a text that lacks its padding: Decode
	// must not run out of it before the length can be judged.
	b := make([]byte, size+2)
	for at := int64(0); at < size; {
		part := s.peek(int(min(text, int64(s.br.Size()))) &^ 3)
		n, err := base64.StdEncoding.Strict().Decode(b[at:], part)
		// Decode skips line ends: then the bytes are too few.
		if want := min(int64(len(part)/4*3), size-at); err != nil || int64(n) != want || n == 0 {
			s.fail(ErrMalformed, "want the base64 of %d bytes", size)
			return nil
		}
		s.skip(len(part))
		text -= int64(len(part))
		at += int64(n)
	}
	return b[:size:size]
}

// frames reads so many frame lengths with commas between.
func (s *indexScanner) frames(count int64) []uint32 {
	if s.err == nil && 2*count > s.left {
		s.fail(ErrMalformed, "ends in its frames")
	}
	if s.err != nil {
		return nil
	}
	frames := make([]uint32, count)
	for i := range frames {
		if i > 0 {
			s.literal(",")
		}
		frames[i] = uint32(s.number(MaxFrameSize))
		if s.err != nil {
			return nil
		}
	}
	return frames
}

// end checks that nothing follows.
func (s *indexScanner) end() error {
	if b := s.peek(1); len(b) > 0 {
		s.fail(ErrMalformed, "%q", b)
	}
	return s.err
}
