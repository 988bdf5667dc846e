package ipfs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	bsclient "github.com/ipfs/boxo/bitswap/client"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockstore"
	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// memory is Blocks in memory. Blocks in broken are not what they should be.
type memory struct {
	blocks map[unixfs.CID][]byte

	mu     sync.Mutex
	broken map[unixfs.CID]error
	gets   map[unixfs.CID]int
}

func (m *memory) Get(_ context.Context, c unixfs.CID) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets[c]++
	if err := m.broken[c]; err != nil {
		return nil, err
	}
	b, ok := m.blocks[c]
	if !ok {
		return nil, ErrNotFound
	}
	if manifest.Sum(b) != c.Digest {
		return nil, fmt.Errorf("block %s has changed", c)
	}
	return b, nil
}

func (m *memory) Size(_ context.Context, c unixfs.CID) (int, error) {
	b, ok := m.blocks[c]
	if !ok {
		return 0, ErrNotFound
	}
	return len(b), nil
}

func (m *memory) asked(c unixfs.CID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gets[c]
}

// plant makes the tree of files.
func plant(t testing.TB, files map[string][]byte) (root unixfs.CID, links map[string]unixfs.Link, m *memory) {
	t.Helper()
	m = &memory{blocks: map[unixfs.CID][]byte{}, broken: map[unixfs.CID]error{}, gets: map[unixfs.CID]int{}}
	tell := func(c unixfs.CID, block []byte) { m.blocks[c] = bytes.Clone(block) }
	links = map[string]unixfs.Link{}
	paths := slices.Sorted(maps.Keys(files))
	link, err := unixfs.Tree(len(paths), func(i int) (string, unixfs.Link) {
		var leaves []byte
		if len(files[paths[i]]) == 0 {
			m.blocks[unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(nil)}] = nil
		}
		for leaf := range slices.Chunk(files[paths[i]], unixfs.LeafSize) {
			d := manifest.Sum(leaf)
			leaves = append(leaves, d[:]...)
			m.blocks[unixfs.CID{Codec: unixfs.Raw, Digest: d}] = leaf
		}
		links[paths[i]] = unixfs.File(int64(len(files[paths[i]])), leaves, tell)
		return paths[i], links[paths[i]]
	}, tell)
	if err != nil {
		t.Fatal(err)
	}
	return link.CID, links, m
}

// random is n bytes that follow from a seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	var s [32]byte
	s[0] = byte(seed)
	_, _ = rand.NewChaCha8(s).Read(b)
	return b
}

// someFiles are files of all the forms that a tree knows.
func someFiles() map[string][]byte {
	return map[string][]byte{
		"full/CURRENT":          []byte("MANIFEST-000001\n"),
		"full/empty":            nil,
		"full/chunk":            random(1, unixfs.LeafSize),
		"full/chunk-plus-one":   random(2, unixfs.LeafSize+1),
		"full/sst":              random(3, 9*unixfs.LeafSize+4096),
		"full/zeros":            make([]byte, 3*unixfs.LeafSize+5),
		"full/parachains/db/01": random(4, 70_000),
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// eventually waits until it is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in %s it has not come to pass that %s", patience, what)
		}
	}
}

// identity is a new one.
func identity(t testing.TB) *Identity {
	t.Helper()
	i, err := ParseIdentity(must1(NewIdentity()))
	must(t, err)
	return i
}

// options are those of a node that nobody knows.
func options(t testing.TB, blocks Blocks) Options {
	return Options{
		Identity: identity(t),
		State:    filepath.Join(t.TempDir(), "ipfs.db"),
		Blocks:   blocks,
		Listen:   []string{"/ip4/127.0.0.1/tcp/0"},
		DHT:      DHTOff,
		Gateway:  "127.0.0.1:0",
		Log:      slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func start(t testing.TB, o Options) *Node {
	t.Helper()
	n, err := Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close the node: %s", err)
		}
	})
	return n
}

// client is a peer that only fetches.
type client struct {
	host.Host
}

func newClient(t testing.TB, options ...libp2p.Option) *client {
	t.Helper()
	h, err := libp2p.New(append([]libp2p.Option{libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics()}, options...)...)
	must(t, err)
	t.Cleanup(func() { h.Close() })
	return &client{Host: h}
}

// connect connects to a node.
func (c *client) connect(t testing.TB, n *Node) {
	t.Helper()
	must(t, c.Connect(t.Context(), infoOf(t, n)))
}

func infoOf(t testing.TB, n *Node) peer.AddrInfo {
	t.Helper()
	all, err := parsePeers(n.Addrs())
	must(t, err)
	return all[0]
}

// exchange is a client of bitswap.
func (c *client) exchange(t testing.TB) *bsclient.Client {
	t.Helper()
	network := bsnet.NewFromIpfsHost(c)
	empty := blockstore.NewBlockstore(dssync.MutexWrap(ds.NewMapDatastore()))
	b := bsclient.New(t.Context(), network, nil, empty)
	network.Start(b)
	t.Cleanup(func() { network.Stop(); b.Close() })
	return b
}

// freePort is a port that nobody listened at a moment ago.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return port
}
