package ipfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

const (
	million     = 1 << 20
	maxViewPeak = 200 << 20 // bytes of memory for a view of a million chunks
	// maxExtraDisk is the share of what is served that the table may take.
	maxExtraDisk = 0.001
)

// unread is a store that should not be asked.
type unread struct{}

func (unread) Read(context.Context, string, int64, int64) ([]byte, error) {
	return nil, fmt.Errorf("nothing should be read")
}

// TestViewMemory adds a million chunks, and looks some up, in a process of its own.
func TestViewMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a million chunks take a while")
	}
	const child = "QSYNC_TEST_VIEW_MEMORY"
	if os.Getenv(child) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestViewMemory$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%v\n%s", err, out)
		if err != nil {
			t.Fail()
		}
		return
	}
	debug.SetMemoryLimit(96 << 20) // as the commands do
	view, err := OpenView(t.TempDir(), unread{})
	if err != nil {
		t.Fatal(err)
	}
	x := millionChunks(view)
	start := time.Now()
	object := make([]byte, 45<<20) // as large as the index of a million random digests
	index := manifest.Sum(object)
	if err := view.Add(t.Context(), x, index, object); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	start = time.Now()
	const lookups = 10_000
	for i := range lookups {
		f := &x.Files[i*7919%len(x.Files)]
		if _, err := view.Size(t.Context(), unixfs.CID{Codec: unixfs.Raw, Digest: f.Chunk(i % 64)}); err != nil {
			t.Fatal(err)
		}
	}
	lookup := time.Since(start) / lookups
	if err := view.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(view.path(index))
	if err != nil {
		t.Fatal(err)
	}
	peak := peakMemory(t, os.Getpid())
	served := int64(2 * million * manifest.ChunkSize) // raw and, nothing being compressed, as segments
	t.Logf("added in %.1f s, a lookup takes %s; peak memory of %d MiB; the table has %d MiB, %.4f %% of what it serves",
		took.Seconds(), lookup, peak>>20, info.Size()>>20, 100*float64(info.Size())/float64(served))
	if peak > maxViewPeak {
		t.Errorf("want at most %d MiB", maxViewPeak>>20)
	}
	if float64(info.Size()) > maxExtraDisk*float64(served/2) {
		t.Errorf("want at most %.1f %%", 100*maxExtraDisk)
	}
}

// millionChunks is the index of 16,384 files of 64 chunks, of whose segments the
// view is told.
func millionChunks(view *View) *manifest.Index {
	digest := func(kind byte, i int) []byte {
		d := manifest.Sum(binary.LittleEndian.AppendUint64([]byte{kind}, uint64(i)))
		return d[:]
	}
	x := &manifest.Index{Files: make([]manifest.File, 0, million/64)}
	for file := range million / 64 {
		f := manifest.File{
			Path: fmt.Sprintf("full/%06d.sst", file), Size: 64 * manifest.ChunkSize, Mode: 0o644,
			Chunks: make([]byte, 0, 64*manifest.DigestSize), Frames: make([]uint32, 0, 64), Segments: make([]byte, 0, 4*manifest.DigestSize),
		}
		for i := range 64 {
			f.Chunks = append(f.Chunks, digest('c', file*64+i)...)
			f.Frames = append(f.Frames, manifest.MaxFrameSize)
		}
		for s := range f.SegmentCount() {
			d := digest('s', file*4+s)
			f.Segments = append(f.Segments, d...)
			leaves := make([]byte, 0, 17*manifest.DigestSize)
			for l := range 17 { // 16 frames are a little more than 16 MiB
				leaves = append(leaves, digest('l', (file*4+s)*17+l)...)
			}
			view.leaves[manifest.Digest(d)] = leaves
		}
		x.Files = append(x.Files, f)
	}
	return x
}
