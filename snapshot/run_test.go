package snapshot_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
)

// memory is a sink that keeps segments.
type memory struct {
	mu       sync.Mutex
	segments map[manifest.Digest][]byte
	puts     int
	failAt   int // the put that fails, counted from 1; 0 is none
	before   func()
}

func (m *memory) Put(_ context.Context, d manifest.Digest, segment []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.before != nil {
		m.before()
	}
	if m.puts++; m.puts == m.failAt {
		return errInjected
	}
	if manifest.Sum(segment) != d {
		return fmt.Errorf("segment is not %s", d)
	}
	if m.segments == nil {
		m.segments = make(map[manifest.Digest][]byte)
	}
	m.segments[d] = bytes.Clone(segment)
	return nil
}

var errInjected = fmt.Errorf("injected")

// restore writes the files of the index from the sink's segments.
func (m *memory) restore(t *testing.T, x *manifest.Index, dir string) {
	t.Helper()
	dec, err := manifest.NewFrameDecoder()
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Files {
		f := &x.Files[i]
		p := filepath.Join(dir, f.Path)
		must(t, os.MkdirAll(filepath.Dir(p), 0o700))
		out, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, os.FileMode(f.Mode))
		must(t, err)
		for j := range f.SegmentCount() {
			segment, ok := m.segments[f.Segment(j)]
			if !ok {
				t.Fatalf("%s: segment %d was not put", f.Path, j)
			}
			segment = bytes.Clone(segment) // the decoder works in place
			first, n := f.SegmentSpan(j)
			for c := first; c < first+n; c++ {
				frame := segment[:f.Frames[c]]
				segment = segment[f.Frames[c]:]
				chunk, err := dec.Decode(frame, nil, f.ChunkLength(c))
				if err != nil {
					t.Fatalf("%s: chunk %d: %v", f.Path, c, err)
				}
				if manifest.Sum(chunk) != f.Chunk(c) {
					t.Fatalf("%s: chunk %d is not what the index says", f.Path, c)
				}
				_, err = out.WriteAt(chunk, int64(c)*manifest.ChunkSize)
				must(t, err)
			}
			if len(segment) > 0 {
				t.Fatalf("%s: segment %d has %d bytes too many", f.Path, j, len(segment))
			}
		}
		must(t, out.Close())
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func kind(t testing.TB, name string) *database.Kind {
	t.Helper()
	k, err := database.Lookup(name)
	must(t, err)
	return k
}

func forker(t testing.TB, name string) snapshot.Forker {
	t.Helper()
	f, err := fork.New(name)
	must(t, err)
	return f
}

// stoppable is a node that writes nothing and knows whether it is held.
type stoppable struct {
	mu                  sync.Mutex
	held                bool
	quiesced, resumed   int
	onQuiesce, onResume func(context.Context) error
}

func (n *stoppable) Quiesce(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = true
	n.quiesced++
	if n.onQuiesce != nil {
		return n.onQuiesce(ctx)
	}
	return nil
}

func (n *stoppable) Resume(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = false
	n.resumed++
	if n.onResume != nil {
		return n.onResume(ctx)
	}
	return nil
}

func (n *stoppable) String() string { return "a test's node" }

// write makes a file with its directories.
func write(t testing.TB, dir, path string, content []byte) {
	t.Helper()
	p := filepath.Join(dir, path)
	must(t, os.MkdirAll(filepath.Dir(p), 0o700))
	must(t, os.WriteFile(p, content, 0o640))
}

// noise is size bytes that do not compress and differ by seed.
func noise(seed byte, size int) []byte {
	b := make([]byte, size)
	state := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for i := range b {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		b[i] = byte(state >> 32)
	}
	return b
}

// sameTree fails unless each file of the index has the same content and mode in both directories.
func sameTree(t *testing.T, x *manifest.Index, a, b string) {
	t.Helper()
	for i := range x.Files {
		f := &x.Files[i]
		one, err := os.ReadFile(filepath.Join(a, f.Path))
		must(t, err)
		other, err := os.ReadFile(filepath.Join(b, f.Path))
		must(t, err)
		if int64(len(one)) > f.Size {
			one = one[:f.Size]
		}
		if !bytes.Equal(one, other) {
			t.Errorf("%s differs", f.Path)
		}
		info, err := os.Stat(filepath.Join(a, f.Path))
		must(t, err)
		if uint32(info.Mode().Perm()) != f.Mode {
			t.Errorf("%s has mode %o, the index says %o", f.Path, info.Mode().Perm(), f.Mode)
		}
	}
}

// rocks makes a directory like a small RocksDB.
func rocks(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "db")
	write(t, dir, "full/000007.sst", noise(7, 3<<20+17))
	write(t, dir, "full/000009.sst", noise(9, 17<<20))
	write(t, dir, "full/000010.log", noise(10, 2<<20))
	write(t, dir, "full/000011.sst", make([]byte, 20<<20+5))
	write(t, dir, "full/MANIFEST-000005", noise(5, 4000))
	write(t, dir, "full/CURRENT", []byte("MANIFEST-000005\n"))
	write(t, dir, "full/OPTIONS-000004", []byte("[DBOptions]\n  recycle_log_file_num=0\n  allow_mmap_writes=false\n"))
	write(t, dir, "full/db_version", []byte("4\n"))
	write(t, dir, "full/empty.sst", nil)
	write(t, dir, "full/LOCK", nil)
	write(t, dir, "full/LOG", []byte("not of the database"))
	write(t, dir, "full/parachains/db/CURRENT", []byte("MANIFEST-000001\n"))
	return dir
}

// options are those of a run over a RocksDB directory.
func options(t *testing.T, dir string, sink snapshot.Sink, node snapshot.Node) snapshot.Options {
	t.Helper()
	return snapshot.Options{
		Database: dir, Kind: kind(t, "rocksdb"), Node: node, Forker: forker(t, "hardlink"), Sink: sink,
		StateFile: filepath.Join(t.TempDir(), "state"), Workers: 2,
	}
}

func TestRunRestores(t *testing.T) {
	for _, name := range []string{"hardlink", "copy", "auto"} {
		t.Run(name, func(t *testing.T) {
			dir := rocks(t)
			sink, node := &memory{}, &stoppable{}
			result, err := snapshot.Run(t.Context(), snapshot.Options{
				Database: dir, Kind: kind(t, "rocksdb"), Node: node, Forker: forker(t, name), Sink: sink,
				StateFile: filepath.Join(t.TempDir(), "state"),
			})
			must(t, err)
			must(t, result.Index.Check())
			restored := t.TempDir()
			sink.restore(t, result.Index, restored)
			sameTree(t, result.Index, dir, restored)
			if got := len(result.Index.Files); got != 10 {
				t.Errorf("%d files, want 10", got)
			}
			if result.Foreign != 2 {
				t.Errorf("%d foreign files, want LOCK and LOG", result.Foreign)
			}
			if v := result.VersionFiles["full/db_version"]; v != "4" {
				t.Errorf("version file says %q", v)
			}
			if node.quiesced != 1 || node.resumed != 1 || node.held {
				t.Errorf("node: %+v", node)
			}
			gone(t, fork.Path(dir))
			t.Log(result.Fork, result.Pause)
		})
	}
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", path, err)
	}
}
