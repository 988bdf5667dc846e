package fetcher_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
)

const mib = 1 << 20

// random returns n bytes that do not compress, the same for the same seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

// text returns n bytes that compress.
func text(seed uint64, n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "line %d of text %d\n", i, seed)
	}
	return b[:n]
}

// sampleFiles is a directory with files of every kind of size: nothing, less
// than a chunk, borders of chunks and segments, holes, several segments.
func sampleFiles() files {
	sparse := make([]byte, 20*mib+5)
	copy(sparse[3*mib:], random(1, mib/2))
	copy(sparse[20*mib:], "end!!")
	return files{
		"full/000001.sst":            random(2, 40*mib+123),
		"full/000002.sst":            text(3, 24*mib),
		"full/CURRENT":               []byte("MANIFEST-000001\n"),
		"full/empty":                 {},
		"full/chunk":                 random(4, mib),
		"full/chunk-plus-one":        random(5, mib+1),
		"full/parachains/db/table_0": sparse,
		"zeros":                      make([]byte, 3*mib),
	}
}

// sampleSize is how many bytes of sampleFiles a publisher sends at most.
func sampleSize(p *publisher, m *manifest.Manifest) int64 {
	if p.raw {
		return m.RawSize - 21*mib // zeros are not fetched
	}
	return m.StoredSize
}

func options(p *publisher, target string, sources ...fetcher.Source) fetcher.Options {
	return fetcher.Options{
		Repository: p.repository(sources...), Channel: testChannel, Target: target,
		Patience: 3 * time.Second, Log: testLog(p.t),
	}
}

func mustRun(t *testing.T, opts fetcher.Options) *fetcher.Result {
	t.Helper()
	result, err := fetcher.Run(context.Background(), opts)
	check(t, err)
	if _, err := os.Lstat(opts.Target + ".qsync-partial"); err == nil && !opts.DryRun {
		t.Errorf("the work directory is still there")
	}
	return result
}

func TestRestore(t *testing.T) { bothLayouts(t, testRestore) }

func testRestore(t *testing.T, p *publisher) {
	want := sampleFiles()
	m := p.publish("20261122-040003", want)
	target := filepath.Join(t.TempDir(), "db")
	result := mustRun(t, options(p, target))
	sameContent(t, content(t, target), want)
	all := sampleSize(p, m)
	if result.FetchedBytes > all || result.FetchedBytes == 0 || result.Plan.FetchBytes != result.FetchedBytes {
		t.Errorf("fetched %d bytes of %d, the plan was %d", result.FetchedBytes, all, result.Plan.FetchBytes)
	}
	info, err := os.Stat(filepath.Join(target, "full/000001.sst"))
	check(t, err)
	if info.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v", info.Mode())
	}
	if got := allocated(t, filepath.Join(target, "full/parachains/db/table_0")); got > 3*mib {
		t.Errorf("a sparse file of 20 MiB takes %d bytes of disk", got)
	}
	report, err := fetcher.Verify(context.Background(), fetcher.VerifyOptions{
		Repository: options(p, target).Repository, Channel: testChannel, Directory: target,
	})
	check(t, err)
	if !report.Same() {
		t.Errorf("verify reports %+v", report)
	}
}

func allocated(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	check(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

func TestVerifyNamesWhatDiffers(t *testing.T) {
	p := newPublisher(t)
	p.publish("20261122-040003", sampleFiles())
	dir := filepath.Join(t.TempDir(), "db")
	mustRun(t, options(p, dir))
	flip(t, filepath.Join(dir, "full/000001.sst"), 17*mib+3)
	check(t, os.Remove(filepath.Join(dir, "full/empty")))
	check(t, os.WriteFile(filepath.Join(dir, "full/LOG"), nil, 0o644))
	check(t, os.Truncate(filepath.Join(dir, "full/chunk"), 1000))
	report, err := fetcher.Verify(context.Background(), fetcher.VerifyOptions{
		Repository: options(p, dir).Repository, Channel: testChannel, Directory: dir,
	})
	check(t, err)
	got := fmt.Sprint(report.Missing, report.Unlisted, report.Wrong)
	want := fmt.Sprint([]string{"full/empty"}, []string{"full/LOG"}, []fetcher.Wrong{
		{Path: "full/000001.sst", Size: 40*mib + 123, WantSize: 40*mib + 123, Chunks: []int{17}},
		{Path: "full/chunk", Size: 1000, WantSize: mib, Chunks: []int{0}},
	})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func flip(t *testing.T, path string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], offset)
	check(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b[:], offset)
	check(t, err)
}

// TestDelta restores a second version with the first as seed, in the three ways
// that there are, and fetches no more than what changed.
func TestDelta(t *testing.T) { bothLayouts(t, testDelta) }

func testDelta(t *testing.T, p *publisher) {
	first := sampleFiles()
	p.publish("20261121-040002", first)
	old := filepath.Join(t.TempDir(), "db")
	mustRun(t, options(p, old))

	second := sampleFiles()
	delete(second, "full/chunk")
	second["full/000003.sst"] = random(7, 5*mib)
	copy(second["full/000001.sst"][20*mib+77:], "changed")
	p.publish("20261122-040003", second)
	changed := int64(6*mib + 1000)

	ways := map[string]func(*fetcher.Options){
		"same target": func(o *fetcher.Options) { o.Target = old },
		"seed": func(o *fetcher.Options) {
			o.Target = filepath.Join(t.TempDir(), "other")
			o.Seeds = []string{old}
		},
		"in place": func(o *fetcher.Options) { o.Target, o.InPlace = old, true },
	}
	for _, name := range []string{"seed", "in place", "same target"} {
		t.Run(name, func(t *testing.T) {
			opts := options(p, "")
			ways[name](&opts)
			if name == "same target" {
				check(t, os.RemoveAll(old))
				o := options(p, old)
				o.Version = "20261121-040002"
				mustRun(t, o)
				opts.KeepOld = true
			}
			dry := opts
			dry.DryRun = true
			before := content(t, old)
			plan := mustRun(t, dry).Plan
			sameContent(t, content(t, old), before)
			result := mustRun(t, opts)
			sameContent(t, content(t, opts.Target), second)
			if result.FetchedBytes > changed {
				t.Errorf("fetched %d bytes, %d have changed", result.FetchedBytes, changed)
			}
			if plan.FetchBytes != result.FetchedBytes {
				t.Errorf("the plan was to fetch %d bytes, %d were", plan.FetchBytes, result.FetchedBytes)
			}
			if opts.KeepOld {
				sameContent(t, content(t, result.OldDirectory), first)
			}
		})
	}
}

// TestResume cancels a restore again and again, and counts what is fetched twice.
func TestResume(t *testing.T) { bothLayouts(t, testResume) }

func testResume(t *testing.T, p *publisher) {
	want := sampleFiles()
	m := p.publish("20261122-040003", want)
	for _, inPlace := range []bool{false, true} {
		t.Run(fmt.Sprintf("inPlace=%t", inPlace), func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "db")
			var total int64
			for attempt := 0; ; attempt++ {
				ctx, cancel := context.WithCancelCause(context.Background())
				stop := &stopper{Source: openSource(t, p.base), after: int64(6*mib + attempt*1000), cancel: cancel}
				opts := options(p, target, stop)
				opts.InPlace = inPlace
				opts.Jobs = 2
				_, err := fetcher.Run(ctx, opts)
				total += stop.sent.Load()
				if err == nil {
					break
				}
				if !errors.Is(err, errStopped) {
					t.Fatal(err)
				}
				if attempt > 30 {
					t.Fatal("it makes no progress")
				}
			}
			sameContent(t, content(t, target), want)
			if limit := sampleSize(p, m) * 11 / 10; total > limit {
				t.Errorf("fetched %d bytes in all, want at most %d", total, limit)
			}
		})
	}
}

func TestOwnFilesOnly(t *testing.T) {
	p := newPublisher(t)
	p.kind = "rocksdb"
	p.publish("20261122-040003", files{"full/CURRENT": []byte("MANIFEST-000001\n")})
	parent := t.TempDir()
	tests := map[string]struct {
		path string
		err  error
	}{
		"keystore": {"keystore/6175", nil},
		"secret":   {"network/secret_ed25519", nil},
		"other":    {"letters/to-a-friend.txt", fetcher.ErrConsent},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(parent, name)
			file := filepath.Join(target, test.path)
			check(t, os.MkdirAll(filepath.Dir(file), 0o755))
			check(t, os.WriteFile(file, []byte("precious"), 0o600))
			for _, inPlace := range []bool{false, true} {
				opts := options(p, target)
				opts.InPlace = inPlace
				opts.Replace = test.err == nil // not even then
				_, err := fetcher.Run(context.Background(), opts)
				if err == nil || (test.err != nil && !errors.Is(err, test.err)) {
					t.Errorf("in place %t: error is %v", inPlace, err)
				}
				body, err := os.ReadFile(file)
				if err != nil || string(body) != "precious" {
					t.Errorf("in place %t: the file is %q, %v", inPlace, body, err)
				}
			}
		})
	}
}

// TestPrunedMidway has the version vanish while it is fetched: the restore goes
// on with the next one and keeps what it has.
func TestPrunedMidway(t *testing.T) { bothLayouts(t, testPrunedMidway) }

func testPrunedMidway(t *testing.T, p *publisher) {
	first := files{"a": random(1, 30*mib), "b": random(2, 30*mib), "c": random(3, 30*mib)}
	p.publish("20261121-040002", first)
	second := files{"a": first["a"], "b": first["b"], "d": random(4, 3*mib)}
	pruned := false
	c := p.file("c", first["c"])
	src := &hooked{Source: openSource(t, p.base), before: func(s fetcher.Span) {
		// The last file of the first version: a and b are there by then.
		last := s.Key == manifest.SegmentKey(c.Segment(1)) || strings.HasSuffix(s.Key, "/c") && s.Offset > 0
		if last && !pruned {
			pruned = true
			gone := []string{testChannel + "/20261121-040002", manifest.SegmentKey(c.Segment(0)), manifest.SegmentKey(c.Segment(1))}
			for _, key := range gone {
				check(t, os.RemoveAll(filepath.Join(p.base, key)))
			}
			p.live = nil
			p.publish("20261122-040003", second)
		}
	}}
	target := filepath.Join(t.TempDir(), "db")
	opts := options(p, target, src)
	opts.Jobs = 1
	result := mustRun(t, opts)
	if !pruned || result.Manifest.Version != "20261122-040003" {
		t.Fatalf("pruned %t, restored %s", pruned, result.Manifest.Version)
	}
	sameContent(t, content(t, target), second)
	if result.FetchedBytes > 4*mib {
		t.Errorf("fetched %d bytes for the second version: what was there has not been kept", result.FetchedBytes)
	}
}
