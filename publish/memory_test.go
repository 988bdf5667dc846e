package publish_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/targettest"
)

// maxMemory is what the whole program may need for an index of a million chunks.
const maxMemory = 300 << 20

// TestMemory publishes a million chunks twice, scrubs and prunes, in a process of its own.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a million chunks take a while")
	}
	const child = "QSYNC_TEST_MEMORY"
	if os.Getenv(child) != "" {
		publishMillion(t)
		return
	}
	for name, chunksPerFile := range map[string]int{"one file": 1 << 20, "64 MiB files": 64} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMemory$", "-test.v")
		cmd.Env = append(os.Environ(), child+"="+strconv.Itoa(chunksPerFile))
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %v\n%s", name, err, out)
		if err != nil {
			t.Fail()
		}
	}
}

// peakMemory is the most that this process has had in memory. What the kernel tells
// a parent of its child counts from before the exec.
func peakMemory(t *testing.T) (bytes int64) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(peak), " ")
	n, err := strconv.ParseInt(kib, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

func publishMillion(t *testing.T) {
	debug.SetMemoryLimit(96 << 20) // as the commands do
	perFile, err := strconv.Atoi(os.Getenv("QSYNC_TEST_MEMORY"))
	if err != nil {
		t.Fatal(err)
	}
	base := targettest.MemoryDir(t)
	target, err := dir.New(base)
	if err != nil {
		t.Fatal(err)
	}
	s := targettest.NewStage(t, target)
	for round := range 2 {
		run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
		if err != nil {
			t.Fatal(err)
		}
		x := million(t, run, perFile, round == 0)
		if _, err := run.Commit(t.Context(), targettest.NewManifest(round), x); err != nil {
			t.Fatal(err)
		}
		if err := run.Close(); err != nil {
			t.Fatal(err)
		}
	}
	scrub(t, s)
	s.Later = grace + 1
	mustPrune(t, s.Publisher, keep(1), false)
	peak := peakMemory(t)
	t.Logf("peak memory of %d MiB", peak>>20)
	if peak > maxMemory {
		t.Errorf("want at most %d MiB", maxMemory>>20)
	}
}

// million is an index of 2^20 chunks whose frames have one byte each, as far as
// the publisher can see.
func million(t *testing.T, run *publish.Run, perFile int, put bool) *manifest.Index {
	x := &manifest.Index{}
	var n uint64
	for path := range (1 << 20) / perFile {
		f := manifest.File{Path: strconv.Itoa(1<<20 + path), Size: int64(perFile) * manifest.ChunkSize, Mode: 0o644, Frames: make([]uint32, perFile)}
		f.Chunks = make([]byte, 0, perFile*manifest.DigestSize)
		for i := range perFile {
			f.Frames[i] = 1
			d := manifest.Sum(binary.LittleEndian.AppendUint64(nil, uint64(path*perFile+i)))
			f.Chunks = append(f.Chunks, d[:]...)
		}
		for range perFile / manifest.SegmentChunks {
			n++
			body := make([]byte, manifest.SegmentChunks)
			binary.LittleEndian.PutUint64(body, n)
			d := manifest.Sum(body)
			f.Segments = append(f.Segments, d[:]...)
			if !put {
				continue
			}
			if err := run.Put(t.Context(), d, body); err != nil {
				t.Fatal(err)
			}
		}
		x.Files = append(x.Files, f)
	}
	return x
}
