package unixfs

import (
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/qsync/qsync/manifest"
)

// Codec says how the bytes behind a CID are to be read.
type Codec byte

// The codecs of the profile, by their numbers in the table of multicodecs.
const (
	Raw   Codec = 0x55 // bytes of a file
	DagPB Codec = 0x70 // a node with links
)

// CID is a content address of version 1 with a SHA-256.
type CID struct {
	Codec  Codec
	Digest manifest.Digest
}

const (
	cidVersion    = 1
	sha256Code    = 0x12
	cidLength     = 4 + manifest.DigestSize
	base32Prefix  = "b" // of multibase
	textCIDLength = 59
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Bytes is the binary form.
func (c CID) Bytes() []byte {
	return append([]byte{cidVersion, byte(c.Codec), sha256Code, manifest.DigestSize}, c.Digest[:]...)
}

// String is the form in base32, as manifests and URLs have it.
func (c CID) String() string { return base32Prefix + base32Lower.EncodeToString(c.Bytes()) }

// ErrCID says that a text is no CID of the profile.
var ErrCID = errors.New("no CID of version 1 with a SHA-256 in base32")

// ParseCID reads what [CID.String] writes, and no other form.
func ParseCID(s string) (CID, error) {
	digits, ok := strings.CutPrefix(s, base32Prefix)
	if !ok || len(s) != textCIDLength {
		return CID{}, fmt.Errorf("%.80q: %w", s, ErrCID)
	}
	b, err := base32Lower.DecodeString(digits)
	c, known := CastCID(b)
	if err != nil || !known || c.String() != s {
		return CID{}, fmt.Errorf("%.80q: %w", s, ErrCID)
	}
	return c, nil
}

// CastCID reads what [CID.Bytes] writes, and reports whether it is that.
func CastCID(b []byte) (CID, bool) {
	if len(b) != cidLength || b[0] != cidVersion || b[2] != sha256Code || b[3] != manifest.DigestSize {
		return CID{}, false
	}
	c := CID{Codec(b[1]), manifest.Digest(b[4:])}
	return c, c.Codec == Raw || c.Codec == DagPB
}
