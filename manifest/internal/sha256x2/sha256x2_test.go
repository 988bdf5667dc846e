package sha256x2

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"
)

func random(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func mustAgree(t *testing.T, a, b []byte) {
	t.Helper()
	gotA, gotB := Sum(a, b)
	if gotA != sha256.Sum256(a) || gotB != sha256.Sum256(b) {
		t.Errorf("messages of %d and %d bytes: another digest than crypto/sha256's", len(a), len(b))
	}
}

func TestSum(t *testing.T) {
	t.Logf("two at once: %t", supported)
	for n := range 1000 {
		mustAgree(t, random(1, n), random(2, n))
	}
	for _, n := range []int{1 << 20, 1<<20 - 64, 1<<20 + 64} {
		mustAgree(t, random(1, n), random(2, n))
	}
	mustAgree(t, random(1, 128), random(2, 64))
	mustAgree(t, nil, random(2, 64))
	same := random(3, 4096)
	mustAgree(t, same, same)
	for offset := range 16 { // no message is aligned
		b := random(4, 4096+16)[offset:]
		mustAgree(t, b[:2048], b[2048:4096])
	}
}

func FuzzSum(f *testing.F) {
	f.Add(random(1, 64), random(2, 64))
	f.Add(random(1, 192), random(2, 100))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		mustAgree(t, a, b)
		n := min(len(a), len(b)) &^ 63
		mustAgree(t, a[:n], b[:n])
	})
}

func BenchmarkSum(b *testing.B) {
	x, y := random(1, 1<<20), random(2, 1<<20)
	b.Run("one", func(b *testing.B) {
		b.SetBytes(1 << 20)
		for b.Loop() {
			sha256.Sum256(x)
		}
	})
	b.Run("two", func(b *testing.B) {
		b.SetBytes(2 << 20)
		for b.Loop() {
			Sum(x, y)
		}
	})
}
