package probe

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/manifest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newIndex makes an index of files with so many chunks each, every fifth of them one of
// zeros.
func newIndex(chunks ...int) *manifest.Index {
	random := rand.NewChaCha8([32]byte{1})
	digests := func(n int) []byte {
		b := make([]byte, n*manifest.DigestSize)
		_, _ = random.Read(b)
		return b
	}
	x := &manifest.Index{}
	for i, n := range chunks {
		f := manifest.File{Path: fmt.Sprintf("full/%06d.sst", i), Size: int64(n)*manifest.ChunkSize - 7, Mode: 0o644, Chunks: digests(n)}
		f.Segments = digests(f.SegmentCount())
		for c := range n {
			f.Frames = append(f.Frames, uint32(900_000+c%1000))
			if c%5 == 0 {
				z := zeros()
				copy(f.Chunks[c*manifest.DigestSize:], z[:])
			}
		}
		x.Files = append(x.Files, f)
	}
	return x
}

// TestDrawSpans draws so many spans that all chunks that are no holes are drawn, and
// compares each with the index.
func TestDrawSpans(t *testing.T) {
	x := newIndex(1, 40, 3, 17, 100)
	object, rawSize, err := x.Marshal()
	must(t, err)
	m := &manifest.Manifest{}
	m.Describe(x, manifest.Ref{RawSize: rawSize})
	seen := map[manifest.Digest]bool{}
	for length := 1; length <= maxSpan; length++ {
		spans, err := drawSpans(bytes.NewReader(object), m, length, 4000)
		must(t, err)
		for _, s := range spans {
			i, _ := x.Find(s.path)
			f := &x.Files[i]
			segment := f.SegmentOf(s.first)
			begin, n := f.SegmentSpan(segment)
			var offset, stored int64
			for c := begin; c < begin+n; c++ {
				if c < s.first {
					offset += int64(f.Frames[c])
				}
				stored += int64(f.Frames[c])
			}
			end := s.first + len(s.frames)
			if len(s.frames) < 1 || len(s.frames) > length || end > begin+n || s.segment != f.Segment(segment) || s.offset != offset ||
				s.stored != stored || s.size != f.Size || !bytes.Equal(s.digests, f.Chunks[s.first*manifest.DigestSize:end*manifest.DigestSize]) {
				t.Fatalf("%+v", s)
			}
			raw, lengths := s.place(&Place{Channel: "demo", Files: true}, "v")
			if raw.Key != "demo/v/"+s.path || raw.Offset+raw.Length > f.Size || len(lengths) != len(s.frames) {
				t.Fatalf("%+v", raw)
			}
			seen[f.Chunk(s.first)] = true
		}
	}
	for i := range x.Files {
		for c := range x.Files[i].ChunkCount() {
			if d := x.Files[i].Chunk(c); seen[d] == (d == zeros()) {
				t.Errorf("chunk %d of %s: drawn %v", c, x.Files[i].Path, seen[d])
			}
		}
	}
	if spans, err := drawSpans(strings.NewReader(""), &manifest.Manifest{}, 1, 8); err == nil {
		t.Errorf("%d spans of no index", len(spans))
	}
}

// putLargeIndex makes a large index in a directory, and its manifest.
func putLargeIndex(t *testing.T, dir string) *manifest.Manifest {
	t.Helper()
	chunks := []int{200_000} // a file of 200 GB, beside others
	for range 2000 {
		chunks = append(chunks, 64)
	}
	x := newIndex(chunks...)
	object, rawSize, err := x.Marshal()
	must(t, err)
	m := &manifest.Manifest{}
	m.Describe(x, manifest.Ref{Digest: manifest.Sum(object), Size: int64(len(object)), RawSize: rawSize})
	file := filepath.Join(dir, manifest.IndexKey(m.Index.Digest))
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, object, 0o644))
	return m
}

// TestDrawMemory reads large indexes at once.
func TestDrawMemory(t *testing.T) {
	dir := t.TempDir()
	m := putLargeIndex(t, dir)
	from, err := source.Open(dir)
	must(t, err)
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	heap := func() uint64 {
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapInuse
	}
	runtime.GC()
	before, peak := heap(), uint64(0)
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(time.Millisecond):
				peak = max(peak, heap())
			}
		}
	})
	r := &Reader{Sample: 16 << 20, Ahead: 32, Room: NewRoom()}
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			p := &Place{Channel: "demo"}
			if err := r.draw(t.Context(), p, from, m); err != nil || len(p.spans) < maxSpans/2 {
				t.Errorf("%d spans, %v", len(p.spans), err)
			}
		})
	}
	group.Wait()
	close(ended)
	watching.Wait()
	const most = 32 << 20
	if used := int64(peak) - int64(before); used > most {
		t.Errorf("%d MiB are in use, want at most %d", used>>20, most>>20)
	} else {
		t.Logf("%d MiB for an index of %d MiB", used>>20, m.Index.RawSize>>20)
	}
}
