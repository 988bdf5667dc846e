package manifest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// newIndex makes an index of so many files with so many chunks each.
func newIndex(files, chunks int) *Index {
	random := rand.NewChaCha8([32]byte{})
	digests := func(n int) []byte {
		b := make([]byte, n*DigestSize)
		io.ReadFull(random, b)
		return b
	}
	x := &Index{}
	for i := range files {
		f := File{Path: fmt.Sprintf("full/%06d.sst", i), Size: int64(chunks) * ChunkSize, Mode: 0o644}
		f.Chunks = digests(chunks)
		f.Segments = digests(f.SegmentCount())
		for j := range chunks {
			f.Frames = append(f.Frames, uint32(900000+j*7919%100000))
		}
		x.Files = append(x.Files, f)
	}
	return x
}

var bigIndexes = []struct {
	name          string
	files, chunks int
}{
	{"1 file of 1,000,000 chunks", 1, 1_000_000},
	{"16,000 files of 64 chunks", 16_000, 64},
	{"1,000,000 files of 1 chunk", 1_000_000, 1},
}

func BenchmarkReadIndex(b *testing.B) {
	for _, big := range bigIndexes {
		b.Run(big.name, func(b *testing.B) {
			object, rawSize, err := newIndex(big.files, big.chunks).Marshal()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(rawSize)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ReadIndex(bytes.NewReader(object), rawSize); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMarshalIndex(b *testing.B) {
	for _, big := range bigIndexes {
		b.Run(big.name, func(b *testing.B) {
			x := newIndex(big.files, big.chunks)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := x.Marshal(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// allocated is the number of bytes that f allocates in all, an upper bound of
// what it holds at once.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestReadIndexMemory(t *testing.T) {
	for _, big := range bigIndexes[:2] {
		t.Run(big.name, func(t *testing.T) {
			object, rawSize, err := newIndex(big.files, big.chunks).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			const most = 80 << 20
			got := allocated(func() { _, err = ReadIndex(bytes.NewReader(object), rawSize) })
			if err != nil || got > most {
				t.Errorf("allocated %d bytes, want at most %d: %v", got, most, err)
			}
		})
	}
}

// An index cannot make its reader allocate more than it brings itself.
func TestReadIndexMemoryOfLies(t *testing.T) {
	const header = `{"format":"qsync index v1","chunk_size":1048576,"segment_chunks":16,"files":4194304}` + "\n"
	for name, lines := range map[string]string{
		"files":  header,
		"size":   header + `{"path":"a","size":4398046511104,"mode":"0644","chunks":"AAAA`,
		"frames": header + `{"path":"a","size":0,"mode":"0644","chunks":"","segments":"","frames":[`,
	} {
		var object bytes.Buffer
		enc, err := zstd.NewWriter(&object)
		if err != nil {
			t.Fatal(err)
		}
		enc.Write([]byte(lines))
		enc.Close()
		const most = 4 << 20
		got := allocated(func() { _, err = ReadIndex(bytes.NewReader(object.Bytes()), int64(len(lines))) })
		if err == nil || got > most {
			t.Errorf("%s: allocated %d bytes, want at most %d: %v", name, got, most, err)
		}
	}
}
