package fetcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
)

// parityFiles are the files of a database, as Parity publishes one. The first takes
// two spans, each other one but the empty one a span.
func parityFiles() files {
	sparse := make([]byte, 6*mib+5)
	copy(sparse[3*mib:], random(1, mib/2))
	copy(sparse[6*mib:], "end!!")
	return files{
		firstFile:                    random(2, 26*mib+123),
		"full/000002.sst":            text(3, 3*mib),
		"full/CURRENT":               []byte("MANIFEST-000001\n"),
		"full/MANIFEST-000001":       random(8, 100),
		"full/chunk":                 random(4, mib),
		"full/empty":                 {},
		"full/parachains/db/table_0": sparse,
		"full/zeros":                 make([]byte, mib),
	}
}

// otherFile is another one of the size of the first.
func otherFile() []byte { return random(100, 26*mib+123) }

const (
	firstFile     = "full/000001.sst"
	parityChannel = "testnet-rocksdb-prune"
	firstVersion  = "20261121-040002"
	secondVersion = "20261122-040003"
)

// parityTree lays versions out below a directory and returns that.
type parityTree struct {
	t    *testing.T
	base string // of the channel
}

func newParityTree(t *testing.T) *parityTree {
	t.Helper()
	p := &parityTree{t, filepath.Join(t.TempDir(), parityChannel)}
	check(t, os.MkdirAll(p.base, 0o755))
	return p
}

func (p *parityTree) put(key string, body []byte) {
	p.t.Helper()
	path := filepath.Join(p.base, filepath.FromSlash(key))
	check(p.t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(p.t, os.WriteFile(path, body, 0o644))
}

func (p *parityTree) publish(version string, content files) {
	p.t.Helper()
	size := 0
	for path, body := range content {
		p.put(version+"/"+path, body)
		// As an object store or an unpacked archive may have it: the time alone
		// does not tell two versions apart.
		check(p.t, os.Chtimes(filepath.Join(p.base, version, path), testTime, testTime))
		size += len(body)
	}
	p.put(version+"/files.txt", []byte(strings.Join(slices.Sorted(maps.Keys(content)), "\n")+"\n"))
	p.put(version+".meta.txt", fmt.Appendf(nil, "size: %d\nlastBlock: 4711\nversion: %s\n", size, version))
	p.put("latest_version.meta.txt", []byte(version+"\n"))
}

// serve serves the tree, and what change makes of it, and returns its URL.
func (p *parityTree) serve(change func(w http.ResponseWriter, r *http.Request, good http.Handler)) string {
	p.t.Helper()
	files := http.FileServer(http.Dir(filepath.Dir(p.base)))
	good := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if info, err := os.Stat(filepath.Join(filepath.Dir(p.base), r.URL.Path)); err == nil {
			w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size())) // as nginx makes them
		}
		files.ServeHTTP(w, r)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if change == nil {
			good.ServeHTTP(w, r)
		} else {
			change(w, r, good)
		}
	}))
	p.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return "parity+" + server.URL + "/" + parityChannel
}

func openTree(t *testing.T, url string) fetcher.UnsignedTree {
	t.Helper()
	tree, channel, _, err := source.OpenUnsigned(url)
	check(t, err)
	if channel != parityChannel {
		t.Errorf("the channel of %s is %s", url, channel)
	}
	return tree
}

func unsignedOptions(t *testing.T, tree fetcher.UnsignedTree, target string) fetcher.Options {
	return fetcher.Options{Unsigned: tree, Channel: parityChannel, Target: target, Patience: time.Second, Log: testLog(t)}
}

func TestUnsigned(t *testing.T) {
	p := newParityTree(t)
	want := parityFiles()
	p.publish(firstVersion, want)
	for name, url := range map[string]string{"http": p.serve(nil), "file": "parity+file://" + p.base} {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "db")
			dry := unsignedOptions(t, openTree(t, url), target)
			dry.DryRun = true
			mustRun(t, dry)
			result := mustRun(t, unsignedOptions(t, openTree(t, url), target))
			sameContent(t, content(t, target), want)
			s, plan := result.Unsigned, result.Plan
			if s == nil || s.Version != firstVersion || s.Kind != "rocksdb" || s.LastBlock != 4711 || s.Files != len(want) || result.Manifest != nil {
				t.Errorf("%+v", s)
			}
			if !plan.Unsigned || plan.FetchBytes != result.FetchedBytes || plan.RawBytes != s.RawSize || plan.LastBlock != 4711 || plan.Sources[0].Layout != "files" {
				t.Errorf("the plan is %+v; fetched were %d", plan, result.FetchedBytes)
			}
			if got := allocated(t, filepath.Join(target, "full/parachains/db/table_0")); got > 2*mib {
				t.Errorf("a sparse file of 6 MiB takes %d bytes of disk", got)
			}
			// Once more: nothing on the disk can be recognised.
			if again := mustRun(t, unsignedOptions(t, openTree(t, url), target)); again.FetchedBytes != result.FetchedBytes {
				t.Errorf("fetched %d bytes the second time", again.FetchedBytes)
			}
		})
	}
}

// hookedTree calls before for each span that is asked for, and counts what is sent.
type hookedTree struct {
	fetcher.UnsignedTree
	mu     sync.Mutex
	before func(fetcher.Span)
	sent   atomic.Int64
}

func (h *hookedTree) OpenStamped(ctx context.Context, span fetcher.Span, stamp fetcher.Stamp) (io.ReadCloser, error) {
	if h.before != nil {
		h.mu.Lock()
		h.before(span)
		h.mu.Unlock()
	}
	body, err := h.UnsignedTree.OpenStamped(ctx, span, stamp)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{readerFunc(func(b []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		n, err := body.Read(b)
		h.sent.Add(int64(n))
		return n, err
	}), body}, nil
}

// interruptTree runs a restore that is cancelled before the nth span.
func interruptTree(t *testing.T, url, target string, nth int) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	spans := 0
	tree := &hookedTree{UnsignedTree: openTree(t, url), before: func(fetcher.Span) {
		if spans++; spans == nth {
			cancel(errStopped)
		}
	}}
	opts := unsignedOptions(t, tree, target)
	opts.Jobs = 1
	if _, err := fetcher.Run(ctx, opts); !errors.Is(err, errStopped) {
		t.Fatalf("error is %v", err)
	}
}

// TestUnsignedAsAnyOther holds an unsigned restore to the rules about targets.
func TestUnsignedAsAnyOther(t *testing.T) {
	p := newParityTree(t)
	p.publish(firstVersion, files{"full/CURRENT": []byte("x")})
	tree := openTree(t, "parity+file://"+p.base)
	target := filepath.Join(t.TempDir(), "db")
	check(t, os.MkdirAll(filepath.Join(target, "keystore"), 0o755))
	if _, err := fetcher.Run(t.Context(), unsignedOptions(t, tree, target)); err == nil || !strings.Contains(err.Error(), "key of the node") {
		t.Errorf("over a keystore: %v", err)
	}
	check(t, os.RemoveAll(target))
	check(t, os.MkdirAll(filepath.Join(target, "photos"), 0o755))
	if _, err := fetcher.Run(t.Context(), unsignedOptions(t, tree, target)); !errors.Is(err, fetcher.ErrConsent) {
		t.Errorf("over photos: %v", err)
	}
	check(t, os.RemoveAll(target))
	mustRun(t, unsignedOptions(t, tree, target))
	lock := filepath.Join(target, "full", "LOCK")
	release := holdLock(t, lock)
	if _, err := fetcher.Run(t.Context(), unsignedOptions(t, tree, target)); !errors.Is(err, fetcher.ErrInUse) {
		t.Errorf("over a database that is open: %v", err)
	}
	release()
	mustRun(t, unsignedOptions(t, tree, target))
	if _, err := os.Lstat(lock); err == nil {
		t.Error("what files.txt does not name is still there")
	}
	for name, spoil := range map[string]func(*fetcher.Options){
		"in place": func(o *fetcher.Options) { o.InPlace = true },
		"seeds":    func(o *fetcher.Options) { o.Seeds = []string{target} },
	} {
		opts := unsignedOptions(t, tree, target)
		spoil(&opts)
		if _, err := fetcher.Run(t.Context(), opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	said := errors.New("no")
	opts := unsignedOptions(t, tree, filepath.Join(t.TempDir(), "db"))
	opts.CheckUnsigned = func(_ context.Context, s *fetcher.UnsignedSnapshot) error {
		if s.LastBlock != 4711 {
			t.Errorf("%+v", s)
		}
		return said
	}
	refused(t, opts, said)
}
