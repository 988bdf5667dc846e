package ipfs

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/dual"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/qsync/qsync/fetcher"
)

// privateNetwork is a new one: the text of its key, and what makes a node one of it.
func privateNetwork(t testing.TB) (key []byte, member []libp2p.Option) {
	t.Helper()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	key = []byte("/key/swarm/psk/1.0.0/\n/base16/\n" + hex.EncodeToString(secret) + "\n")
	psk, err := pnet.DecodeV1PSK(bytes.NewReader(key))
	must(t, err)
	return key, []libp2p.Option{loopback, libp2p.Transport(tcp.NewTCPTransport), libp2p.PrivateNetwork(psk)}
}

// route makes a node a server of the DHT that is for private addresses.
func (n *node) route(t testing.TB, others ...*node) *dht.IpfsDHT {
	t.Helper()
	for _, o := range others {
		info, err := parsePeer(o.address())
		must(t, err)
		must(t, n.Connect(t.Context(), info))
	}
	d, err := dht.New(n, dht.Mode(dht.ModeServer), dht.ProtocolExtension(dual.LanExtension), dht.AddressFilter(nil))
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// TestRouting: in a private network, who has a tree and what a name stands for is
// found through a DHT of others.
func TestRouting(t *testing.T) {
	f := forest{}
	root := f.tree(t, map[string][]byte{"catalog": []byte("a catalog")})
	key, member := privateNetwork(t)
	first := newNode(t, member...)
	first.route(t)
	has := newNode(t, member...).serve(t, f)
	provider := has.route(t, first)
	for provider.RoutingTable().Size() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	must(t, provider.Provide(t.Context(), libraryCID(root), true))
	s := newSigner(t)
	name, err := ipns.NameFromString(s.name)
	must(t, err)
	must(t, provider.PutValue(t.Context(), string(name.RoutingKey()), s.record("/ipfs/"+root.String(), 1, time.Now().Add(time.Hour))))

	n, err := Join(NetworkOptions{SwarmKey: key, Bootstrap: []string{first.address()}})
	must(t, err)
	defer n.Close()
	network := func() (*Network, error) { return n, nil }
	site := Named(&Names{Network: network}, s.name)
	got, err := NewSite("ipns://"+s.name, Found(network, site), site).Get(t.Context(), "catalog", 100)
	if err != nil || string(got) != "a catalog" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := n.Providers(t.Context(), 1, wanted); !errors.Is(err, fetcher.ErrNotFound) {
		t.Error(err)
	}

	stranger, _ := privateNetwork(t)
	o, err := Join(NetworkOptions{SwarmKey: stranger, Bootstrap: []string{first.address()}})
	must(t, err)
	defer o.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := o.Providers(ctx, 1, root); err == nil {
		t.Error("a stranger was told")
	}
	if p, err := o.Peer(has.address()); err != nil {
		t.Error(err)
	} else if _, err := p.Get(t.Context(), root); err == nil || !strings.Contains(err.Error(), "connect: ") {
		t.Errorf("a stranger was served: %v", err)
	}
}
