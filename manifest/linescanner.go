package manifest

import (
	"bytes"
	"encoding/base64"
	"strconv"
)

// lineScanner reads a line of an index, which has one form only: a general
// JSON parser would accept many and need three times as long, and an index of
// a million chunks is one line of 55 MB. After the first mismatch it is failed
// and gives zeros.
type lineScanner struct {
	rest   []byte
	failed bool
}

func (s *lineScanner) literal(want string) {
	rest, ok := bytes.CutPrefix(s.rest, []byte(want))
	if s.failed = s.failed || !ok; !s.failed {
		s.rest = rest
	}
}

// until returns what stands before the next end and skips both.
func (s *lineScanner) until(end byte) []byte {
	before, rest, ok := bytes.Cut(s.rest, []byte{end})
	if s.failed = s.failed || !ok; s.failed {
		return nil
	}
	s.rest = rest
	return before
}

// number reads a decimal number of 0 to most without sign or leading zeros.
func (s *lineScanner) number(most int64) int64 {
	digits := 0
	for digits < len(s.rest) && s.rest[digits] >= '0' && s.rest[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseInt(string(s.rest[:digits]), 10, 64)
	if s.failed = s.failed || err != nil || n > most || (digits > 1 && s.rest[0] == '0'); s.failed {
		return 0
	}
	s.rest = s.rest[digits:]
	return n
}

// mode reads four octal digits and the quote behind them.
func (s *lineScanner) mode() uint32 {
	digits := s.until('"')
	n, err := strconv.ParseUint(string(digits), 8, 32)
	s.failed = s.failed || err != nil || len(digits) != 4
	return uint32(n)
}

// base64 reads base64 with padding and the quote behind it.
func (s *lineScanner) base64() []byte {
	text := s.until('"')
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(b, text)
	// Decode skips line ends; a canonical text has none.
	s.failed = s.failed || err != nil || bytes.IndexByte(text, '\r') >= 0
	return b[:n:n]
}
