package chain

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/qsync/qsync/manifest"
)

// number is a height or a count: a JSON number, or hex digits in a string, with
// or without zeros in front.
type number int64

func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	s := string(b)
	var v int64
	var err error
	if hex, ok := strings.CutPrefix(strings.Trim(s, `"`), "0x"); ok {
		v, err = strconv.ParseInt(hex, 16, 64)
	} else {
		v, err = strconv.ParseInt(s, 10, 64)
	}
	if err != nil || v < 0 || v > manifest.MaxSequence {
		return fmt.Errorf("%.40q is not a number from 0 to %d", s, int64(manifest.MaxSequence))
	}
	*n = number(v)
	return nil
}

var hashPattern = regexp.MustCompile(`^0x[0-9a-f]{64}$`)

// hash is the hash of a block, in lower-case digits.
type hash string

func (h *hash) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	s = strings.ToLower(s)
	if !hashPattern.MatchString(s) {
		return fmt.Errorf("%.80q is not the hash of a block", s)
	}
	*h = hash(s)
	return nil
}

// text is what a node says for people: as much of it as a manifest may hold.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	*t = text(s[:min(len(s), manifest.MaxTextLength)])
	return nil
}
