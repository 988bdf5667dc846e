package ipfs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"testing"

	bitswap "github.com/ipfs/boxo/bitswap/message"
	"github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/bitswap/server"
	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// forest is blocks, of trees.
type forest map[unixfs.CID][]byte

// file adds a file.
func (f forest) file(raw []byte) unixfs.Link {
	var leaves []byte
	for leaf := range slices.Chunk(raw, unixfs.LeafSize) {
		d := manifest.Sum(leaf)
		f[unixfs.CID{Codec: unixfs.Raw, Digest: d}] = leaf
		leaves = append(leaves, d[:]...)
	}
	link := unixfs.File(int64(len(raw)), leaves, f.tell)
	if len(raw) == 0 {
		f[link.CID] = nil
	}
	return link
}

func (f forest) tell(c unixfs.CID, block []byte) { f[c] = slices.Clone(block) }

// tree adds files, and returns their root.
func (f forest) tree(t testing.TB, files map[string][]byte) unixfs.CID {
	t.Helper()
	paths := slices.Sorted(maps.Keys(files))
	root, err := unixfs.Tree(len(paths), func(i int) (string, unixfs.Link) { return paths[i], f.file(files[paths[i]]) }, f.tell)
	must(t, err)
	return root.CID
}

// random is n bytes that follow from a seed.
func random(seed string, n int) []byte {
	var out []byte
	for i := uint64(0); len(out) < n; i++ {
		d := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(seed), i))
		out = append(out, d[:]...)
	}
	return out[:n]
}

// store is the blocks as the library has them.
func (f forest) store(t testing.TB) blockstore.Blockstore {
	t.Helper()
	s := blockstore.NewBlockstore(dssync.MutexWrap(ds.NewMapDatastore()))
	for c, raw := range f {
		b, err := blocks.NewBlockWithCid(raw, libraryCID(c))
		must(t, err)
		must(t, s.Put(t.Context(), b))
	}
	return s
}

// node is a peer of the library's.
type node struct {
	host.Host
	network network.BitSwapNetwork
	addrs   []ma.Multiaddr
}

var loopback = libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0")

func newNode(t testing.TB, options ...libp2p.Option) *node {
	t.Helper()
	h, err := libp2p.New(append([]libp2p.Option{libp2p.DisableRelay(), libp2p.DisableMetrics()}, options...)...)
	must(t, err)
	n := &node{h, bsnet.NewFromIpfsHost(h), h.Addrs()}
	t.Cleanup(func() { h.Close() })
	return n
}

func (n *node) address() string { return n.addrs[0].String() + "/p2p/" + n.ID().String() }

// serve has the library's server answer with blocks.
func (n *node) serve(t testing.TB, f forest) *node {
	t.Helper()
	s := server.New(t.Context(), n.network, f.store(t))
	n.network.Start(serving{s})
	t.Cleanup(func() { n.network.Stop(); s.Close() })
	return n
}

// serving is the server as the network wants it.
type serving struct{ *server.Server }

func (serving) ReceiveError(error)           {}
func (s serving) PeerConnected(p peer.ID)    { s.Server.PeerConnected(p) }
func (s serving) PeerDisconnected(p peer.ID) { s.Server.PeerDisconnected(p) }

// answer is what a node does that is not the library's: it is told of each want.
type answer func(n *node, to peer.ID, c unixfs.CID)

// do has the node answer so.
func (n *node) do(t testing.TB, a answer) *node {
	t.Helper()
	n.network.Start(&doing{node: n, answer: a})
	t.Cleanup(n.network.Stop)
	return n
}

type doing struct {
	*node
	answer answer

	mu      sync.Mutex
	cancels []unixfs.CID
}

func (d *doing) ReceiveMessage(_ context.Context, from peer.ID, m bitswap.BitSwapMessage) {
	for _, e := range m.Wantlist() {
		if c, ours := unixfs.CastCID(e.Cid.Bytes()); ours && !e.Cancel {
			go d.answer(d.node, from, c)
		} else if e.Cancel {
			d.mu.Lock()
			d.cancels = append(d.cancels, c)
			d.mu.Unlock()
		}
	}
}

func (*doing) ReceiveError(error)       {}
func (*doing) PeerConnected(peer.ID)    {}
func (*doing) PeerDisconnected(peer.ID) {}

// send sends bytes as a block.
func (n *node) send(to peer.ID, raw []byte) {
	m := bitswap.New(false)
	m.AddBlock(blockOf(raw))
	_ = n.network.SendMessage(context.Background(), to, m)
}

// blockOf is bytes as a block of the library's.
func blockOf(raw []byte) blocks.Block {
	b, err := blocks.NewBlockWithCid(raw, libraryCID(unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(raw)}))
	if err != nil {
		panic(err)
	}
	return b
}

// identity makes a node the same one each time.
func identity(t testing.TB) libp2p.Option {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	must(t, err)
	return libp2p.Identity(key)
}

// join joins the public network.
func join(t testing.TB) *Network {
	t.Helper()
	n, err := Join(NetworkOptions{Bootstrap: []string{}})
	must(t, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %s", err)
		}
	})
	return n
}

// peer is a node as the network sees it.
func (n *Network) to(t testing.TB, of *node) *Peer {
	t.Helper()
	p, err := n.Peer(of.address())
	must(t, err)
	return p
}
