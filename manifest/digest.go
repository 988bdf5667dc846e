package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/qsync/qsync/manifest/internal/sha256x2"
)

// DigestSize is the length of a [Digest] in bytes.
const DigestSize = sha256.Size

const digestPrefix = "sha256:"

// Digest is a SHA-256. In text it is "sha256:" and 64 lower-case hex digits.
type Digest [DigestSize]byte

// Sum returns the digest of b.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

// SumPair returns the digests of a and b. Where the processor can, two whole
// chunks take little longer than one.
func SumPair(a, b []byte) (sumA, sumB Digest) { return sha256x2.Sum(a, b) }

// Hex returns the 64 lower-case hex digits that object keys are made of.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

func (d Digest) String() string { return digestPrefix + d.Hex() }

// ParseDigest reads the form that [Digest.String] writes, and no other.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	digits, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(digits) != 2*DigestSize || strings.ToLower(digits) != digits {
		return d, fmt.Errorf("%w: digest %.80q: want sha256: and 64 lower-case hex digits", ErrMalformed, s)
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return d, fmt.Errorf("%w: digest %.80q: %w", ErrMalformed, s, err)
	}
	return d, nil
}

// MarshalText implements [encoding.TextMarshaler].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDigest(string(text))
	return err
}
