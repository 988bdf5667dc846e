package ipfs

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/dual"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/qsync/qsync/manifest/unixfs"
)

// swarmKey is one of a new private network.
func swarmKey() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return []byte("/key/swarm/psk/1.0.0/\n/base16/\n" + hex.EncodeToString(b) + "\n")
}

// privateClient is a peer of a private network.
func privateClient(t testing.TB, key []byte) *client {
	return newClient(t, libp2p.Transport(tcp.NewTCPTransport), libp2p.PrivateNetwork(must1(parseSwarmKey(key))))
}

// TestPrivateNetwork: who has the key is served, and nobody else gets a connection.
func TestPrivateNetwork(t *testing.T) {
	_, links, blocks := plant(t, someFiles())
	o := options(t, blocks)
	o.SwarmKey = swarmKey()
	n := start(t, o)
	friend := privateClient(t, o.SwarmKey)
	friend.connect(t, n)
	want := libraryCID(links["full/CURRENT"].CID)
	b, err := friend.exchange(t).GetBlock(t.Context(), want)
	if err != nil || b.Cid() != want {
		t.Errorf("%v, %v", b, err)
	}
	for name, stranger := range map[string]*client{"no key": newClient(t), "another key": privateClient(t, swarmKey())} {
		if err := stranger.Connect(t.Context(), infoOf(t, n)); err == nil {
			t.Errorf("who has %s is connected", name)
		}
	}
	if s := n.Stats(); s.Peers != 1 {
		t.Errorf("%d peers", s.Peers)
	}

	o = options(t, blocks)
	o.SwarmKey, o.Bootstrap = swarmKey(), PublicPeers()
	if n, err := Start(t.Context(), o); !errors.Is(err, errPublicPeers) {
		t.Errorf("a private network with public peers: %v, %v", n, err)
	}
	o.SwarmKey, o.Bootstrap = []byte("/key/swarm/psk/1.0.0/\n/base16/\nsecret"), nil
	if _, err := Start(t.Context(), o); !errors.Is(err, errSwarmKey) || strings.Contains(err.Error(), "secret") {
		t.Errorf("a broken key: %v", err)
	}
}

// TestPeers: a node connects to its peers, and does so again after they were away.
func TestPeers(t *testing.T) {
	t.Parallel()
	_, _, blocks := plant(t, someFiles())
	o := options(t, blocks)
	o.Listen = []string{"/ip4/127.0.0.1/tcp/" + freePort(t)}
	other, err := Start(t.Context(), o)
	must(t, err)
	p := options(t, blocks)
	p.Peers = []string{other.Addrs()[0], "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"} // the second is dead
	n := start(t, p)
	connected := func() bool { return n.host.Network().Connectedness(other.host.ID()) == network.Connected }
	eventually(t, "it is connected", connected)
	must(t, other.Close())
	eventually(t, "it is not connected", func() bool { return !connected() })
	other, err = Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { other.Close() })
	eventually(t, "it is connected again", connected)
}

// TestDHT: roots and names are found through a DHT of others, and again after a restart.
func TestDHT(t *testing.T) {
	t.Parallel()
	root, links, blocks := plant(t, someFiles())
	key := swarmKey()
	server := func(peers ...string) *Node {
		o := options(t, blocks)
		o.DHT, o.SwarmKey, o.Peers, o.Gateway = DHTServer, key, peers, ""
		return start(t, o)
	}
	first := server()
	var peers []string
	for range 2 {
		peers = append(peers, server(first.Addrs()[0]).Addrs()[0])
	}
	o := options(t, blocks)
	o.DHT, o.SwarmKey, o.Bootstrap, o.Gateway = DHTClient, key, slices.Concat(peers, first.Addrs()), ""
	n, err := Start(t.Context(), o)
	must(t, err)
	must(t, n.Announce(t.Context(), Announcement{Channel: "demo-files", Site: root, Roots: []unixfs.CID{links["full/sst"].CID}}))
	name := must1(n.Name("demo-files"))

	seeker := privateClient(t, key)
	must(t, seeker.Connect(t.Context(), infoOf(t, first)))
	d, err := dht.New(seeker, dht.Mode(dht.ModeClient), dht.ProtocolExtension(dual.LanExtension), dht.BootstrapPeers(infoOf(t, first)),
		dht.AddressFilter(nil))
	must(t, err)
	t.Cleanup(func() { d.Close() })
	finds := func(c unixfs.CID) func() bool {
		return func() bool {
			providers, err := d.FindProviders(t.Context(), cid.NewCidV1(cid.Raw, hashOf(c)))
			return err == nil && containsPeer(providers, n.host.ID())
		}
	}
	eventually(t, "the root is found", finds(root))
	eventually(t, "the root of a file is found", finds(links["full/sst"].CID))
	resolves := func(want unixfs.CID) func() bool {
		return func() bool {
			raw, err := d.GetValue(t.Context(), string(must1(ipns.NameFromString(name)).RoutingKey()))
			if err != nil {
				return false
			}
			record, err := ipns.UnmarshalRecord(raw)
			must(t, err)
			value, err := record.Value()
			must(t, err)
			return value.String() == "/ipfs/"+want.String()
		}
	}
	eventually(t, "the name is found", resolves(root))

	// After a restart nothing starts over, and what is announced later replaces it.
	must(t, n.Close())
	n, err = Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { n.Close() })
	for _, table := range n.routers {
		if keys, err := table.keys.Size(t.Context()); err != nil || keys != 2 {
			t.Errorf("%d keys are provided, %v", keys, err)
		}
	}
	newer := links["full/chunk"].CID
	must(t, n.Announce(t.Context(), Announcement{Channel: "demo-files", Site: newer, Roots: []unixfs.CID{links["full/sst"].CID}}))
	eventually(t, "the newer root is found", finds(newer))
	eventually(t, "the name stands for it", resolves(newer))
	must(t, n.Retain(t.Context(), nil))
	for _, table := range n.routers {
		if keys, err := table.keys.Size(t.Context()); err != nil || keys != 0 {
			t.Errorf("%d keys are provided, %v", keys, err)
		}
	}
}

func containsPeer(all []peer.AddrInfo, id peer.ID) bool {
	for _, p := range all {
		if p.ID == id {
			return true
		}
	}
	return false
}

// TestNames: names are served by the gateway, and never go back.
func TestNames(t *testing.T) {
	all := someFiles()
	root, links, blocks := plant(t, all)
	o := options(t, blocks)
	n, err := Start(t.Context(), o)
	must(t, err)
	const channel = "demo-files"
	must(t, n.PublishName(t.Context(), channel, links["full/chunk"].CID, time.Minute, time.Hour))
	must(t, n.PublishName(t.Context(), channel, root, time.Minute, time.Hour))
	name := must1(n.Name(channel))
	served := func() (sequence uint64) {
		t.Helper()
		got := ask(t, "GET", "http://"+n.Gateway()+"/ipns/"+name, "Accept", "application/vnd.ipfs.ipns-record")
		record, err := ipns.UnmarshalRecord(got.body)
		must(t, err)
		must(t, ipns.ValidateWithName(record, must1(ipns.NameFromString(name))))
		if value := must1(record.Value()); value.String() != "/ipfs/"+root.String() {
			t.Errorf("it stands for %s", value)
		}
		return must1(record.Sequence())
	}
	first := served()
	got := ask(t, "GET", "http://"+n.Gateway()+"/ipns/"+name+"/full/sst")
	if !bytes.Equal(got.body, all["full/sst"]) || got.Header.Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("%s, %v", got.Status, got.Header)
	}
	if got := ask(t, "GET", "http://"+n.Gateway()+"/ipns/"+must1(n.Name("demo-other"))); got.StatusCode != http.StatusNotFound {
		t.Errorf("a name that was not published: %s", got.Status)
	}
	must(t, n.Close())

	// A restart serves it as it was, also if the clock has gone back.
	n, err = Start(t.Context(), o)
	must(t, err)
	if again := served(); again != first {
		t.Errorf("sequence %d, was %d", again, first)
	}
	must(t, n.PublishName(t.Context(), channel, root, time.Minute, time.Hour))
	if later := served(); later <= first {
		t.Errorf("sequence %d, was %d", later, first)
	}
	if text := must1(n.DNSLink(channel)); text != "dnslink=/ipns/"+name {
		t.Error(text)
	}
	must(t, n.Close())

	// Another identity has other names, and nothing of these.
	o.Identity = identity(t)
	n = start(t, o)
	for _, of := range []string{name, must1(n.Name(channel))} {
		if got := ask(t, "GET", "http://"+n.Gateway()+"/ipns/"+of); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", of, got.Status)
		}
	}
}

// TestStartStop: what has been started ends.
func TestStartStop(t *testing.T) {
	_, _, blocks := plant(t, someFiles())
	o := options(t, blocks)
	o.DHT, o.Listen = DHTServer, append(o.Listen, "/ip4/127.0.0.1/udp/0/quic-v1")
	o.Peers = []string{"/ip4/127.0.0.1/tcp/9/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"}
	once := func() {
		n, err := Start(t.Context(), o)
		must(t, err)
		must(t, n.PublishName(t.Context(), "demo-files", unixfs.CID{Codec: unixfs.Raw}, time.Minute, time.Hour))
		must(t, n.Close())
	}
	once() // some things are made once for all
	before := runtime.NumGoroutine()
	for range 50 {
		once()
	}
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before+2 {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, were %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestStartFails: a start that fails leaves nothing behind.
func TestStartFails(t *testing.T) {
	_, _, blocks := plant(t, someFiles())
	n := start(t, options(t, blocks))
	taken := options(t, blocks)
	taken.Gateway = n.Gateway()
	before := runtime.NumGoroutine()
	for range 5 {
		if _, err := Start(t.Context(), taken); err == nil || !strings.Contains(err.Error(), "gateway") {
			t.Fatal(err)
		}
	}
	taken.Gateway, taken.State = "127.0.0.1:0", n.options.State
	if _, err := Start(t.Context(), taken); err == nil || !strings.Contains(err.Error(), taken.State) {
		t.Error(err)
	}
	eventually(t, fmt.Sprintf("there are %d goroutines again", before), func() bool { return runtime.NumGoroutine() <= before+2 })
}
