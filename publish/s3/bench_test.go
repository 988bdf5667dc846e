package s3_test

import (
	"math/rand/v2"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/scripts/s3server"
)

// BenchmarkPut sends segments.
func BenchmarkPut(b *testing.B) {
	target, err := s3.New(options(s3server.Start(b)))
	if err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		body[rand.IntN(len(body))]++
		if err := target.Put(b.Context(), manifest.SegmentKey(manifest.Sum(body)), body); err != nil {
			b.Fatal(err)
		}
	}
}
