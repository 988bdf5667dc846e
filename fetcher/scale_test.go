package fetcher_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
)

// millionChunks is the index of a snapshot of 1 TB, as the SSTs of an archive
// node or as one file.
func millionChunks(oneFile bool) *manifest.Index {
	const chunks, perFile = 1_000_000, 64
	r := rand.NewChaCha8([32]byte{1})
	file := func(path string, n int64) manifest.File {
		f := manifest.File{Path: path, Size: n * manifest.ChunkSize, Mode: 0o644,
			Chunks: make([]byte, n*manifest.DigestSize), Segments: make([]byte, manifest.SegmentCount(n)*manifest.DigestSize),
			Frames: make([]uint32, n)}
		_, _ = r.Read(f.Chunks)
		_, _ = r.Read(f.Segments)
		for i := range f.Frames {
			f.Frames[i] = uint32(900_000 + r.Uint64()%100_000)
		}
		return f
	}
	if oneFile {
		return &manifest.Index{Files: []manifest.File{file("mdbx.dat", chunks)}}
	}
	x := &manifest.Index{}
	for i := range chunks / perFile {
		x.Files = append(x.Files, file(fmt.Sprintf("full/%06d.sst", i), perFile))
	}
	return x
}

// The reach of a plan for a million chunks. The machine may be busy with other
// tests: BenchmarkPlan has the exact figure.
const (
	planTime   = 2 * time.Second
	planMemory = 300 << 20
	// planRequests is what a requester pays some three cents for.
	planRequests = 70_000
)

// TestPlanMillionChunks makes the plan in a process of its own, whose memory is
// that of the plan and not of the test.
func TestPlanMillionChunks(t *testing.T) {
	if base := os.Getenv("QSYNC_TEST_PLAN"); base != "" {
		plan(t, base, os.Getenv("QSYNC_TEST_KEY"))
		return
	}
	if testing.Short() {
		t.Skip("with the race detector it takes another time and memory")
	}
	for _, test := range []struct{ oneFile, raw bool }{{false, false}, {true, false}, {false, true}} {
		t.Run(fmt.Sprintf("oneFile=%t raw=%t", test.oneFile, test.raw), func(t *testing.T) {
			p := newPublisher(t)
			m := p.seal("20261122-040003", millionChunks(test.oneFile))
			if test.raw {
				p.put(manifest.VersionMetaKey(testChannel, m.Version), fmt.Appendf(nil, "size: %d\nversion: %s\n", m.RawSize, m.Version))
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestPlanMillionChunks$", "-test.v")
			cmd.Env = append(os.Environ(), "QSYNC_TEST_PLAN="+p.base, "QSYNC_TEST_KEY="+p.verifier)
			out, err := cmd.CombinedOutput()
			check(t, err)
			t.Logf("%s", out)
			if !strings.Contains(string(out), "planned") {
				t.Error("the other process has made no plan")
			}
		})
	}
}

func plan(t *testing.T, base, verifier string) {
	policy, err := trust.NewPolicy([]string{verifier}, 1)
	check(t, err)
	start := time.Now()
	result, err := fetcher.Run(context.Background(), fetcher.Options{
		Repository: &fetcher.Repository{
			Sources: []fetcher.Source{openSource(t, base)}, Policy: policy, Marks: trust.Marks{Dir: t.TempDir()},
			Now: func() time.Time { return testTime }, Log: testLog(t),
		},
		Channel: testChannel, Target: filepath.Join(t.TempDir(), "db"), DryRun: true,
	})
	check(t, err)
	took := time.Since(start)
	t.Logf("planned %d requests of %s in %v", result.Plan.Requests, result.Plan.Sources[0].Layout, took)
	if result.Plan.Requests > planRequests {
		t.Errorf("the plan has %d requests", result.Plan.Requests)
	}
	if took > planTime {
		t.Errorf("the plan took %v", took)
	}
	status, err := os.ReadFile("/proc/self/status")
	check(t, err)
	_, hwm, _ := strings.Cut(string(status), "VmHWM:")
	var peak int64 // KiB
	_, err = fmt.Sscan(hwm, &peak)
	check(t, err)
	t.Logf("peak memory %d MiB", peak>>10)
	if peak<<10 > planMemory {
		t.Errorf("peak memory is %d MiB", peak>>10)
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, oneFile := range []bool{false, true} {
		b.Run(fmt.Sprintf("oneFile=%t", oneFile), func(b *testing.B) {
			p := newPublisher(b)
			p.seal("20261122-040003", millionChunks(oneFile))
			opts := options(p, filepath.Join(b.TempDir(), "db"))
			opts.DryRun = true
			for b.Loop() {
				if _, err := fetcher.Run(context.Background(), opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
