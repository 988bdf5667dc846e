package manifest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The texts that are signed: lines of space-separated words, the first line
// naming the format. The signatures stand below them, in the form of
// golang.org/x/mod/sumdb/note; this file knows the texts only.
const (
	headFormat    = "qsync head v1"
	catalogFormat = "qsync catalog v1"
	keysFormat    = "qsync keys v1"
)

// Head names the live snapshots of one channel, newest first. It is the only
// thing that changes when a snapshot is published.
type Head struct {
	Channel   string
	Sequence  int64     // grows with every signature
	Expires   time.Time // not to be believed afterwards
	Snapshots []Snapshot
}

// Snapshot names a manifest.
type Snapshot struct {
	Version  string
	Manifest Digest
	Size     int64 // bytes of the manifest
}

// Catalog lists the channels of a publisher. The first channel of a chain is
// that chain's default.
type Catalog struct {
	Publisher string
	Sequence  int64
	Expires   time.Time
	Channels  []CatalogChannel
}

// CatalogChannel is a channel in a catalog.
type CatalogChannel struct {
	Chain   string
	Channel string
}

// Keys is what an offline root key signs: the keys that may sign heads and
// catalogs in its name until it expires. A key that is no longer listed is
// revoked.
type Keys struct {
	Publisher string
	Sequence  int64
	Expires   time.Time
	Verifiers []string // verifier keys in the form of golang.org/x/mod/sumdb/note
}

// Marshal returns the text to sign.
func (h *Head) Marshal() ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nchannel %s\nsequence %d\nexpires %s\n", headFormat, h.Channel, h.Sequence, FormatTime(h.Expires))
	for _, s := range h.Snapshots {
		fmt.Fprintf(&b, "snapshot %s %s %d\n", s.Version, s.Manifest, s.Size)
	}
	return checked([]byte(b.String()))
}

// ParseHead reads the text of a head whose signature the caller has checked.
func ParseHead(text []byte) (*Head, error) {
	lines, err := noteLines(text, headFormat, MaxHeadSize)
	if err != nil {
		return nil, err
	}
	h := &Head{Channel: lines.word("channel"), Sequence: lines.sequence(), Expires: lines.time("expires")}
	for lines.more() {
		w := lines.words("snapshot", 3)
		var s Snapshot
		s.Version = w[0]
		lines.check(CheckVersion(s.Version))
		s.Manifest, err = ParseDigest(w[1])
		lines.check(err)
		s.Size = lines.number(w[2], MaxManifestSize)
		if n := len(h.Snapshots); n > 0 && h.Snapshots[n-1].Version <= s.Version {
			lines.check(fmt.Errorf("%w: snapshots not in descending order, or twice", ErrMalformed))
		}
		h.Snapshots = append(h.Snapshots, s)
	}
	lines.check(CheckChannel(h.Channel))
	lines.count(len(h.Snapshots), MaxSnapshots, "snapshots")
	return h, lines.done("head")
}

// Marshal returns the text to sign.
func (c *Catalog) Marshal() ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\npublisher %s\nsequence %d\nexpires %s\n", catalogFormat, c.Publisher, c.Sequence, FormatTime(c.Expires))
	for _, ch := range c.Channels {
		fmt.Fprintf(&b, "channel %s %s\n", ch.Chain, ch.Channel)
	}
	return checked([]byte(b.String()))
}

// ParseCatalog reads the text of a catalog whose signature the caller has checked.
func ParseCatalog(text []byte) (*Catalog, error) {
	lines, err := noteLines(text, catalogFormat, MaxCatalogSize)
	if err != nil {
		return nil, err
	}
	c := &Catalog{Publisher: lines.word("publisher"), Sequence: lines.sequence(), Expires: lines.time("expires")}
	seen := map[string]bool{}
	for lines.more() {
		w := lines.words("channel", 2)
		lines.check(CheckChannel(w[0]))
		lines.check(CheckChannel(w[1]))
		if seen[w[1]] {
			lines.check(fmt.Errorf("%w: channel %s twice", ErrMalformed, w[1]))
		}
		seen[w[1]] = true
		c.Channels = append(c.Channels, CatalogChannel{Chain: w[0], Channel: w[1]})
	}
	lines.count(len(c.Channels), MaxChannels, "channels")
	return c, lines.done("catalog")
}

// Default is the channel that the name of a chain stands for.
func (c *Catalog) Default(chain string) (string, bool) {
	for _, ch := range c.Channels {
		if ch.Chain == chain {
			return ch.Channel, true
		}
	}
	return "", false
}

// Marshal returns the text to sign.
func (k *Keys) Marshal() ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\npublisher %s\nsequence %d\nexpires %s\n", keysFormat, k.Publisher, k.Sequence, FormatTime(k.Expires))
	for _, v := range k.Verifiers {
		fmt.Fprintf(&b, "key %s\n", v)
	}
	return checked([]byte(b.String()))
}

// ParseKeys reads the text of a list of keys whose signature the caller has checked.
func ParseKeys(text []byte) (*Keys, error) {
	lines, err := noteLines(text, keysFormat, MaxKeysSize)
	if err != nil {
		return nil, err
	}
	k := &Keys{Publisher: lines.word("publisher"), Sequence: lines.sequence(), Expires: lines.time("expires")}
	for lines.more() {
		v := lines.word("key")
		lines.check(CheckVerifier(v))
		if n := len(k.Verifiers); n > 0 && k.Verifiers[n-1] >= v {
			lines.check(fmt.Errorf("%w: keys not in ascending order, or twice", ErrMalformed))
		}
		k.Verifiers = append(k.Verifiers, v)
	}
	lines.count(len(k.Verifiers), MaxKeys, "keys")
	return k, lines.done("keys")
}

// CheckNoteText reports whether text is a head, a catalog or a list of keys in
// its one form. Nothing else is ever signed: the first line tells the kinds
// apart, so that no signature on one is a signature on another.
func CheckNoteText(text []byte) error {
	first, _, _ := strings.Cut(string(text), "\n")
	var err error
	switch first {
	case headFormat:
		_, err = ParseHead(text)
	case catalogFormat:
		_, err = ParseCatalog(text)
	case keysFormat:
		_, err = ParseKeys(text)
	default:
		err = fmt.Errorf("%w: %.80q", ErrVersion, first)
	}
	return err
}

// checked returns a text that was just written, or why it may not be signed.
func checked(text []byte) ([]byte, error) {
	if err := CheckNoteText(text); err != nil {
		return nil, err
	}
	return text, nil
}

// noteReader takes the lines of a signed text apart. It keeps the first error.
type noteReader struct {
	lines []string
	err   error
}

func noteLines(text []byte, format string, most int) (*noteReader, error) {
	if len(text) > most {
		return nil, fmt.Errorf("%w: %s of %d bytes", ErrLimit, format, len(text))
	}
	body, ok := strings.CutSuffix(string(text), "\n")
	if !ok {
		return nil, fmt.Errorf("%w: want %s, and a line end at the end", ErrMalformed, format)
	}
	lines := strings.Split(body, "\n")
	if lines[0] != format {
		return nil, fmt.Errorf("%w: %.80q, want %q", ErrVersion, lines[0], format)
	}
	return &noteReader{lines: lines[1:]}, nil
}

func (r *noteReader) check(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *noteReader) more() bool { return r.err == nil && len(r.lines) > 0 }

// words takes the next line, which is name and n words with single spaces between.
func (r *noteReader) words(name string, n int) []string {
	words := make([]string, n)
	if len(r.lines) == 0 {
		r.check(fmt.Errorf("%w: line %q is missing", ErrMalformed, name))
		return words
	}
	got := strings.Split(r.lines[0], " ")
	if len(got) != n+1 || got[0] != name {
		r.check(fmt.Errorf("%w: line %.80q, want %q and %d words", ErrMalformed, r.lines[0], name, n))
		return words
	}
	for _, w := range got[1:] {
		if w == "" || strings.ContainsFunc(w, func(c rune) bool { return c <= ' ' || c > '~' }) {
			r.check(fmt.Errorf("%w: line %.80q: not plain words", ErrMalformed, r.lines[0]))
		}
	}
	r.lines = r.lines[1:]
	return got[1:]
}

func (r *noteReader) word(name string) string { return r.words(name, 1)[0] }

func (r *noteReader) number(s string, most int64) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil || strconv.FormatInt(n, 10) != s || n < 1:
		r.check(fmt.Errorf("%w: number %.80q", ErrMalformed, s))
	case n > most:
		r.check(fmt.Errorf("%w: number %d", ErrLimit, n))
	}
	return n
}

// count checks that there are 1 to most of something.
func (r *noteReader) count(n, most int, what string) {
	switch {
	case n < 1:
		r.check(fmt.Errorf("%w: no %s", ErrMalformed, what))
	case n > most:
		r.check(fmt.Errorf("%w: %d %s", ErrLimit, n, what))
	}
}

func (r *noteReader) sequence() int64 { return r.number(r.word("sequence"), MaxSequence) }

func (r *noteReader) time(name string) time.Time {
	t, err := ParseTime(r.word(name))
	r.check(err)
	return t
}

func (r *noteReader) done(what string) error {
	if r.err != nil {
		return fmt.Errorf("%s: %w", what, r.err)
	}
	return nil
}
