package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/ipfs"
	"github.com/qsync/qsync/scripts/kubo"
)

// planted is a publication that is on IPFS as well.
type planted struct {
	*testing.T
	tree, verifier string
	files          map[string]string

	Manifest *manifest.Manifest
	Index    *manifest.Index
	View     *ipfs.View
	Site     unixfs.CID
}

func plant(t *testing.T) *planted {
	t.Helper()
	p := &planted{T: t}
	p.tree, p.verifier, p.files = publishTree(t)
	target, err := dir.New(p.tree)
	check(t, err)
	p.View, err = ipfs.OpenView(filepath.Join(p.tree, "..", "state", "ipfs"), target) // the run's
	check(t, err)
	t.Cleanup(func() { check(t, p.View.Close()) })
	small := map[string][]byte{}
	for _, key := range []string{manifest.CatalogKey, manifest.HeadKey("demo-files")} {
		small[key] = p.object(key)
	}
	manifests, err := filepath.Glob(filepath.Join(p.tree, "manifests", "*"))
	check(t, err)
	for _, file := range manifests {
		key, err := filepath.Rel(p.tree, file)
		check(t, err)
		small[key] = p.object(key)
		p.Manifest, err = manifest.ParseManifest(small[key])
		check(t, err)
	}
	index := p.object(manifest.IndexKey(p.Manifest.Index.Digest))
	p.Index, err = manifest.ReadIndex(bytes.NewReader(index), p.Manifest.Index.RawSize)
	check(t, err)
	p.Site, err = p.View.Site(t.Context(), "demo-files", small, p.Manifest.IPFS)
	check(t, err)
	return p
}

func (p *planted) object(key string) []byte {
	p.Helper()
	body, err := os.ReadFile(filepath.Join(p.tree, key))
	check(p.T, err)
	return body
}

// start starts a node of the agent's that serves blocks.
func start(t *testing.T, blocks ipfs.Blocks, with func(*ipfs.Options)) *ipfs.Node {
	t.Helper()
	n := startMortal(t, blocks, with)
	t.Cleanup(func() { check(t, n.Close()) })
	return n
}

// startMortal starts one that the test closes.
func startMortal(t *testing.T, blocks ipfs.Blocks, with func(*ipfs.Options)) *ipfs.Node {
	t.Helper()
	text, err := ipfs.NewIdentity()
	check(t, err)
	identity, err := ipfs.ParseIdentity(text)
	check(t, err)
	o := ipfs.Options{
		Identity: identity, State: filepath.Join(t.TempDir(), "ipfs.db"), Blocks: blocks, DHT: ipfs.DHTOff,
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Gateway: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
	}
	if with != nil {
		with(&o)
	}
	n, err := ipfs.Start(t.Context(), o)
	check(t, err)
	return n
}

// fetch fetches with these flags, and returns what was said.
func (p *planted) fetch(flags ...string) (said string, err error) {
	p.Helper()
	target := filepath.Join(p.TempDir(), "db")
	_, said, err = run(p.T, append([]string{"fetch", "demo", "--trust", p.verifier, "--to", target}, flags...)...)
	if err != nil {
		return said, err
	}
	for path, body := range p.files {
		if got, err := os.ReadFile(filepath.Join(target, path)); err != nil || string(got) != body {
			p.Errorf("%s: got %d bytes, %v", path, len(got), err)
		}
	}
	return said, nil
}

func (p *planted) mustFetch(flags ...string) (said string) {
	p.Helper()
	said, err := p.fetch(flags...)
	if err != nil {
		p.Fatalf("%v: %s", err, said)
	}
	return said
}

// withoutSegments is a place with all but the data.
func (p *planted) withoutSegments() string {
	p.Helper()
	place := p.TempDir()
	check(p.T, os.CopyFS(place, os.DirFS(p.tree)))
	check(p.T, os.RemoveAll(filepath.Join(place, "segments")))
	server := httptest.NewServer(dir.Handler(place))
	p.Cleanup(server.Close)
	return server.URL
}

// TestFetchFromIPFS: the data comes from IPFS alone, the head over HTTP.
func TestFetchFromIPFS(t *testing.T) {
	p := plant(t)
	n := start(t, p.View, nil)
	head := p.withoutSegments()
	for name, from := range map[string][]string{
		"peer":    {"--peer", n.Addrs()[0]},
		"gateway": {"--gateway", "http://" + n.Gateway()},
	} {
		said := p.mustFetch(append(from, "--from", head, "--only", "ipfs")...)
		if !strings.Contains(said, "source    "+from[1]+" (segments)") || strings.Contains(said, "source    "+head) {
			t.Errorf("%s: %s", name, said)
		}
	}
	if s := n.Stats(); s.BytesSent < 20<<20 {
		t.Errorf("%d bytes were sent to the peer", s.BytesSent)
	}
	_, err := p.fetch("--from", head, "--only", "s3,dir")
	if code := term.ExitCode(err); code != term.ExitUsage || !strings.Contains(err.Error(), "has no such source") {
		t.Errorf("exit code %d: %v", code, err)
	}
	_, err = p.fetch("--from", head, "--only", "ftp")
	if code := term.ExitCode(err); code != term.ExitUsage {
		t.Errorf("exit code %d: %v", code, err)
	}
}

// part is the blocks that some say yes to.
type part struct {
	ipfs.Blocks
	has func(unixfs.CID) bool
}

func (b part) Get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	if !b.has(c) {
		return nil, ipfs.ErrNotFound
	}
	return b.Blocks.Get(ctx, c)
}

func (b part) Size(ctx context.Context, c unixfs.CID) (int, error) {
	if !b.has(c) {
		return 0, ipfs.ErrNotFound
	}
	return b.Blocks.Size(ctx, c)
}

// lying are blocks with a bit that is another one. Size does not tell.
type lying struct{ ipfs.Blocks }

func (b lying) Get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	block, err := b.Blocks.Get(ctx, c)
	if err == nil && c.Codec == unixfs.Raw && len(block) > 0 {
		block = bytes.Clone(block)
		block[len(block)/2] ^= 1
	}
	return block, err
}

// TestFetchFromThirds: of three peers that have a third of the chunks each, one lies and
// one dies half-way; the publisher's own server has what they owe.
func TestFetchFromThirds(t *testing.T) {
	p := plant(t)
	chunks := map[manifest.Digest]int{}
	for i := range p.Index.Files {
		for c := range p.Index.Files[i].ChunkCount() {
			chunks[p.Index.Files[i].Chunk(c)] = len(chunks)
		}
	}
	third := func(n int) ipfs.Blocks {
		return part{p.View, func(c unixfs.CID) bool { i, is := chunks[c.Digest]; return is && i%3 == n }}
	}
	dying := &mortal{Blocks: third(1)}
	dying.left.Store(3)
	dies := startMortal(t, dying, nil)
	dead := make(chan struct{})
	dying.die = func() { check(t, dies.Close()); close(dead) }
	good, lies := start(t, third(0), nil), start(t, lying{third(2)}, nil)
	own := dir.Handler(p.tree)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/segments/") {
			<-dead // it is slower than they are
		}
		own.ServeHTTP(w, r)
	}))
	defer server.Close()
	said := p.mustFetch("--from", server.URL, "--peer", good.Addrs()[0], "--peer", lies.Addrs()[0], "--peer", dies.Addrs()[0], "--jobs", "4")
	if s := good.Stats(); s.BlocksSent == 0 {
		t.Errorf("the good one was not asked: %s", said)
	}
	if !strings.Contains(said, "refuses and is not used any more source="+lies.Addrs()[0]) {
		t.Errorf("the liar was not found out: %s", said)
	}
}

// mortal are blocks of one that dies after some.
type mortal struct {
	ipfs.Blocks
	left atomic.Int64
	once sync.Once
	die  func()
}

func (m *mortal) Get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	if m.left.Add(-1) < 0 {
		m.once.Do(func() { go m.die() })
		return nil, errors.New("dead")
	}
	return m.Blocks.Get(ctx, c)
}

// TestFetchFromSites: everything comes from IPFS, by a root and by a name.
func TestFetchFromSites(t *testing.T) {
	p := plant(t)
	n := start(t, p.View, nil)
	check(t, n.PublishName(t.Context(), "demo-files", p.Site, time.Minute, time.Hour))
	name, err := n.Name("demo-files")
	check(t, err)
	gateway := "http://" + n.Gateway()
	for _, flags := range [][]string{
		{"--from", "ipfs://" + p.Site.String(), "--gateway", gateway},
		{"--from", "ipfs://" + p.Site.String(), "--peer", n.Addrs()[0]},
		{"--from", "ipns://" + name, "--gateway", gateway},
		{"--from", "ipns://" + name, "--gateway", "http://127.0.0.1:9", "--gateway", gateway, "--peer", n.Addrs()[0], "--only", "ipfs"},
	} {
		p.mustFetch(flags...)
	}
	// A root locates, it does not vouch.
	_, other, err := trust.GenerateKey("snapshots.example.org")
	check(t, err)
	_, _, err = run(t, "inspect", "demo", "--trust", other, "--from", "ipfs://"+p.Site.String(), "--gateway", gateway)
	if code := term.ExitCode(err); code != term.ExitUntrusted {
		t.Errorf("exit code %d: %v", code, err)
	}
	stdout, _, err := run(t, "inspect", "demo", "--trust", p.verifier, "--from", "ipns://"+name, "--gateway", gateway)
	if err != nil || !strings.Contains(stdout, "ipfs raw        "+p.Manifest.IPFS.Raw) || !strings.Contains(stdout, "ipfs zstd       "+p.Manifest.IPFS.Zstd) {
		t.Errorf("%v: %s", err, stdout)
	}
	for _, bad := range []string{"ipfs://", "ipfs://QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN", "ipfs://" + p.Site.String() + "/raw", "ipns://" + name + "?x"} {
		_, err := p.fetch("--from", bad, "--gateway", gateway)
		if code := term.ExitCode(err); code != term.ExitUsage {
			t.Errorf("%s: exit code %d: %v", bad, code, err)
		}
	}
}

// TestFetchFromHostileGateways: none of them keeps a good one from its work.
func TestFetchFromHostileGateways(t *testing.T) {
	p := plant(t)
	n := start(t, p.View, nil)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("something else")) }))
	defer elsewhere.Close()
	good := "http://" + n.Gateway()
	for name, do := range map[string]http.HandlerFunc{
		"wrong bytes": func(w http.ResponseWriter, r *http.Request) {
			resp, err := http.DefaultClient.Do(must(http.NewRequestWithContext(r.Context(), http.MethodGet, good+r.URL.String(), nil)))
			if err != nil {
				return
			}
			defer resp.Body.Close()
			w.WriteHeader(resp.StatusCode)
			_, _ = w.Write(make([]byte, max(0, resp.ContentLength)))
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 64<<10))
			}
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(do)
			t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
			q := *p
			q.T = t
			q.mustFetch("--from", "ipfs://"+p.Site.String(), "--gateway", server.URL, "--gateway", good)
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestFetchFromNobodyNamed: where no peer is named, those who have a snapshot are found
// through the DHT of a private network.
func TestFetchFromNobodyNamed(t *testing.T) {
	p := plant(t)
	swarm := kubo.NewSwarm()
	key := filepath.Join(t.TempDir(), "swarm.key")
	check(t, os.WriteFile(key, []byte(swarm.Key), 0o600))
	first := start(t, part{p.View, func(unixfs.CID) bool { return false }}, func(o *ipfs.Options) {
		o.SwarmKey, o.DHT = []byte(swarm.Key), ipfs.DHTServer
	})
	n := start(t, p.View, func(o *ipfs.Options) {
		o.SwarmKey, o.DHT, o.Bootstrap = []byte(swarm.Key), ipfs.DHTClient, first.Addrs()
	})
	var roots []unixfs.CID
	for _, text := range []string{p.Manifest.IPFS.Raw, p.Manifest.IPFS.Zstd} {
		roots = append(roots, must(unixfs.ParseCID(text)))
	}
	check(t, n.Announce(t.Context(), ipfs.Announcement{Channel: "demo-files", Site: p.Site, Roots: roots}))
	config := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(config, fmt.Appendf(nil, "ipfs: {swarm_key: %s, bootstrap: [%s]}\n", key, first.Addrs()[0]), 0o600))
	name, err := n.Name("demo-files")
	check(t, err)
	for _, flags := range [][]string{
		{"--from", p.withoutSegments(), "--only", "ipfs"},
		{"--from", "ipfs://" + p.Site.String()},
		{"--from", "ipns://" + name},
	} {
		said, err := p.fetch(append(flags, "--config", config)...)
		for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); { // until all is in the DHT
			said, err = p.fetch(append(flags, "--config", config)...)
		}
		if err != nil || !strings.Contains(said, "/p2p/"+n.Peer()+" (segments)") {
			t.Errorf("%v: %s", err, said)
		}
	}
	check(t, os.WriteFile(config, fmt.Appendf(nil, "ipfs: {swarm_key: %s}\n", key), 0o600))
	_, err = p.fetch("--from", "ipfs://"+p.Site.String(), "--config", config)
	if code := term.ExitCode(err); code != term.ExitNoSource {
		t.Errorf("exit code %d: %v", code, err)
	}
}
