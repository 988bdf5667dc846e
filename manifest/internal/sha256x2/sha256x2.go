// Package sha256x2 computes the SHA-256 of two messages at once.
//
// Each round of SHA-256 waits for the one before it, so a single message leaves
// half of a processor's SHA unit idle. Two messages side by side fill it: on the
// machine of the benchmarks in the README 3.5 GB/s instead of 1.8.
package sha256x2

import (
	"crypto/sha256"
	"encoding/binary"
)

// Sum returns the digests of a and b.
func Sum(a, b []byte) (sumA, sumB [sha256.Size]byte) {
	if !supported || len(a) != len(b) || len(a) == 0 || len(a)%sha256.BlockSize != 0 {
		return sha256.Sum256(a), sha256.Sum256(b)
	}
	stateA, stateB := initial, initial
	blocks(&stateA, &stateB, &a[0], &b[0], len(a)/sha256.BlockSize)
	// Both end in the same block of padding.
	var padding [sha256.BlockSize]byte
	padding[0] = 0x80
	binary.BigEndian.PutUint64(padding[len(padding)-8:], uint64(len(a))*8)
	blocks(&stateA, &stateB, &padding[0], &padding[0], 1)
	return stateA.digest(), stateB.digest()
}

// state holds the eight words of SHA-256 in the order in which the
// instructions want them: F E B A, H G D C.
type state [8]uint32

var initial = state{0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667, 0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372}

func (s *state) digest() (sum [sha256.Size]byte) {
	for i, from := range [8]int{3, 2, 7, 6, 1, 0, 5, 4} {
		binary.BigEndian.PutUint32(sum[4*i:], s[from])
	}
	return sum
}
