package snapshot_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/snapshot"
)

// discard is a sink for measurements.
type discard struct{}

func (discard) Put(context.Context, manifest.Digest, []byte) error { return nil }

// TestMemory measures the peak of a process that seals a database: one of
// data, and one whose index has 1,000,000 chunks, twice.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads gigabytes")
	}
	if dir := os.Getenv("QSYNC_TEST_SEAL"); dir != "" {
		o := snapshot.Options{Database: dir, Kind: kind(t, "files"), Node: &stoppable{}, Forker: forker(t, "copy"), Sink: discard{}}
		first, err := snapshot.Run(t.Context(), o)
		must(t, err)
		o.Previous = &snapshot.Previous{Index: first.Index}
		_, err = snapshot.Run(t.Context(), o)
		must(t, err)
		status, err := os.ReadFile("/proc/self/status")
		must(t, err)
		_, err = os.Stdout.Write(status)
		must(t, err)
		return
	}
	for _, test := range []struct {
		name string
		make func(t *testing.T, path string)
		most int64 // MiB
	}{
		{"1 GiB", func(t *testing.T, path string) {
			t.Helper()
			f, err := os.Create(path)
			must(t, err)
			block := noise(1, 1<<20)
			for i := range 1 << 10 {
				block[i] ^= 1 // no two alike
				_, err = f.Write(block)
				must(t, err)
			}
			must(t, f.Close())
		}, 128},
		{"1,000,000 chunks", func(t *testing.T, path string) {
			t.Helper()
			must(t, os.WriteFile(path, nil, 0o600))
			must(t, os.Truncate(path, 1_000_000<<20))
		}, 300},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "db")
			must(t, os.Mkdir(dir, 0o700))
			test.make(t, filepath.Join(dir, "file"))
			child := exec.Command(os.Args[0], "-test.run=^TestMemory$")
			child.Env = append(os.Environ(), "QSYNC_TEST_SEAL="+dir)
			output, err := child.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			// Not the peak that wait4 tells, which is that of this process if it is higher.
			_, rest, _ := strings.Cut(string(output), "VmHWM:")
			var peak int64 // KiB
			if _, err := fmt.Sscan(rest, &peak); err != nil {
				t.Fatalf("no peak in %s", output)
			}
			peak >>= 10
			t.Logf("peak of %d MiB", peak)
			if peak > test.most {
				t.Errorf("the peak is %d MiB, the most is %d", peak, test.most)
			}
		})
	}
}

// BenchmarkSeal seals a database whose chunks do not compress, as those of
// Polkadot, which the engine has compressed already.
func BenchmarkSeal(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "db")
	write(b, dir, "full/CURRENT", []byte("x"))
	const size = 256 << 20
	write(b, dir, "full/000001.sst", noise(1, size))
	for _, level := range []int{1, 3, 6} {
		b.Run(fmt.Sprintf("level %d", level), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				_, err := snapshot.Run(b.Context(), snapshot.Options{
					Database: dir, Kind: kind(b, "rocksdb"), Node: &stoppable{}, Forker: forker(b, "hardlink"),
					Sink: discard{}, Level: level,
				})
				must(b, err)
			}
		})
	}
}
