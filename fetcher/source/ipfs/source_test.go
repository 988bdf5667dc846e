package ipfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/gateway"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// Get and String make the blocks those of somebody.
func (f forest) Get(_ context.Context, c unixfs.CID) ([]byte, error) {
	block, has := f[c]
	if !has {
		return nil, fetcher.ErrNotFound
	}
	return block, nil
}

func (forest) String() string { return "a forest" }

// libraryGateway is that of the library. One that is trustless serves blocks only. It
// counts what it is asked for.
func libraryGateway(t testing.TB, f forest, trustless bool) (g *source.Gateway, blocks, files *atomic.Int64) {
	t.Helper()
	store := f.store(t)
	backend, err := gateway.NewBlocksBackend(blockservice.New(store, offline.Exchange(store)))
	must(t, err)
	h := gateway.NewHandler(gateway.Config{DeserializedResponses: !trustless, DisableHTMLErrors: true}, backend)
	blocks, files = new(atomic.Int64), new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("format") {
			blocks.Add(1)
		} else {
			files.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g, err = source.OpenGateway(server.URL)
	must(t, err)
	return g, blocks, files
}

// TestSite: a site is a source like any, whoever has its blocks.
func TestSite(t *testing.T) {
	for name, open := range map[string]func(t *testing.T, f forest) Blocks{
		"memory":  func(_ *testing.T, f forest) Blocks { return f },
		"peer":    func(t *testing.T, f forest) Blocks { return join(t).to(t, newNode(t, loopback).serve(t, f)) },
		"gateway": func(t *testing.T, f forest) Blocks { g, _, _ := libraryGateway(t, f, true); return g },
		"several": func(t *testing.T, f forest) Blocks {
			g, _, _ := libraryGateway(t, forest{}, true)
			return Several(g, lying{f}, f)
		},
	} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T, objects map[string][]byte) fetcher.Source {
				f := forest{}
				root := f.tree(t, objects)
				return NewSite("a site", open(t, f), At(root))
			})
		})
	}
	t.Run("files of a gateway", func(t *testing.T) {
		sourcetest.Run(t, func(t *testing.T, objects map[string][]byte) fetcher.Source {
			f := forest{}
			root := f.tree(t, objects)
			g, _, _ := libraryGateway(t, f, false)
			return g.Tree(root)
		})
	})
}

// lying has other bytes.
type lying struct{ forest }

func (l lying) Get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	block, err := l.forest.Get(ctx, c)
	return append(bytes.Clone(block), 'x'), err
}

func read(ctx context.Context, s fetcher.Source, span fetcher.Span) ([]byte, error) {
	body, err := s.Open(ctx, span)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// TestSegments: objects come out of the tree of a version, from a gateway in spans of
// files if it has those, and chunks by their digests.
func TestSegments(t *testing.T) {
	object := random("object", 5*unixfs.LeafSize+77)
	key := manifest.SegmentKey(manifest.Sum(object))
	f := forest{}
	zstd := f.tree(t, map[string][]byte{key: object})
	raw := random("raw", 3*unixfs.LeafSize+1)
	roots := &manifest.IPFS{Zstd: zstd.String(), Raw: f.tree(t, map[string][]byte{"raw": raw}).String()}
	var digests []byte
	for at := 0; at < len(raw); at += unixfs.LeafSize {
		d := manifest.Sum(raw[at:min(at+unixfs.LeafSize, len(raw))])
		digests = append(digests, d[:]...)
	}
	for name, open := range map[string]func(*testing.T) (b Blocks, blocks, files *atomic.Int64){
		"peer": func(t *testing.T) (Blocks, *atomic.Int64, *atomic.Int64) {
			return join(t).to(t, newNode(t, loopback).serve(t, f)), nil, nil
		},
		"gateway": func(t *testing.T) (Blocks, *atomic.Int64, *atomic.Int64) { return libraryGateway(t, f, false) },
		"trustless gateway": func(t *testing.T) (Blocks, *atomic.Int64, *atomic.Int64) {
			return libraryGateway(t, f, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, blocks, files := open(t)
			s := NewSource(b)
			ctx := t.Context()
			if has, err := s.HasSegments(ctx, nil); has || err != nil {
				t.Errorf("of an unknown tree: %v, %v", has, err)
			}
			if has, err := s.HasSegments(ctx, &manifest.IPFS{Zstd: wanted.String()}); has || err != nil {
				t.Errorf("of another tree: %v, %v", has, err)
			}
			if has, err := s.HasSegments(ctx, roots); !has || err != nil {
				t.Fatal(has, err)
			}
			span := fetcher.Span{Key: key, Offset: unixfs.LeafSize - 7, Length: 3 * unixfs.LeafSize, Size: int64(len(object))}
			for range 2 {
				got, err := read(ctx, s, span)
				if err != nil || !bytes.Equal(got, object[span.Offset:span.Offset+span.Length]) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
			if name == "gateway" && files.Load() != 2 {
				t.Errorf("%d files were asked for", files.Load())
			}
			if name == "trustless gateway" && (files.Load() != 1 || blocks.Load() < 8) {
				t.Errorf("%d files and %d blocks were asked for", files.Load(), blocks.Load())
			}
			got, err := read(ctx, s, fetcher.Span{
				Key: "raw", Offset: unixfs.LeafSize, Length: int64(len(raw)) - unixfs.LeafSize, Size: int64(len(raw)),
				Chunks: digests[manifest.DigestSize:],
			})
			if err != nil || !bytes.Equal(got, raw[unixfs.LeafSize:]) {
				t.Errorf("%d bytes of chunks, %v", len(got), err)
			}
			span.Key = manifest.SegmentKey(manifest.Sum(nil))
			if _, err := read(ctx, s, span); !errors.Is(err, fetcher.ErrNotFound) {
				t.Errorf("another object: %v", err)
			}
		})
	}
}

// stuck never answers.
type stuck struct{}

func (stuck) Get(ctx context.Context, _ unixfs.CID) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (stuck) String() string { return "stuck" }

// TestSeveral: who has failed is asked last, and what nobody has is told from what could
// not be asked for.
func TestSeveral(t *testing.T) {
	f := forest{}
	c := f.file([]byte("wanted")).CID
	s := Several(stuck{}, lying{f}, forest{}, f).(*several)
	s.timeout = 200 * time.Millisecond
	start := time.Now()
	for range 3 {
		if b, err := s.Get(t.Context(), c); err != nil || string(b) != "wanted" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if took := time.Since(start); took > 2*s.timeout {
		t.Errorf("it took %s", took)
	}
	other := unixfs.CID{Codec: unixfs.Raw}
	if _, err := s.Get(t.Context(), other); err == nil || errors.Is(err, fetcher.ErrNotFound) || !strings.Contains(err.Error(), "no answer for 200ms") {
		t.Error(err)
	}
	if _, err := Several(forest{}, f).Get(t.Context(), other); !errors.Is(err, fetcher.ErrNotFound) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Several(stuck{}, f).Get(ctx, other); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
