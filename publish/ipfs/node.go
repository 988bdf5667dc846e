package ipfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/ipfs/boxo/peering"
	"github.com/libp2p/go-libp2p/core/host"
	"go.etcd.io/bbolt"

	"github.com/qsync/qsync/manifest/unixfs"
)

// Options is what a node is started with.
type Options struct {
	// Identity is what it is known by.
	Identity *Identity
	// State is the file of what must outlive it. One node at a time has it open.
	State string
	// Blocks is what it serves.
	Blocks Blocks
	// Damaged is told of each block that should be there and cannot be read, or is not
	// what it should be. It is not sent. May be nil; it must return soon.
	Damaged func(c unixfs.CID, err error)

	// Listen are the addresses for other nodes, as multiaddrs of TCP and QUIC.
	Listen []string
	// DHT is DHTClient, DHTServer or DHTOff.
	DHT string
	// Bootstrap are peers that the DHT is found through; see [PublicPeers]. A private
	// network has its own, or needs none besides Peers.
	Bootstrap []string
	// Peers are nodes that this one stays connected to, as multiaddrs that end in
	// /p2p/ and who is there.
	Peers []string
	// SwarmKey is the key of a private network, see [CheckSwarmKey]: nobody without it
	// gets a connection. nil is the public network.
	SwarmKey []byte

	// Gateway is the address to serve HTTP at, like 127.0.0.1:8081. Empty is none.
	Gateway string
	// Bandwidth is how many bytes of blocks a second are sent at most; 0 is any
	// number. Below a block a second, most would be given up half way.
	Bandwidth int64
	// Limits bounds what strangers can make it do.
	Limits Limits

	Log *slog.Logger
}

// Node is a peer of the network that serves blocks, and a gateway. It fetches nothing
// for anybody.
type Node struct {
	options Options
	store   *servedBlocks
	state   *bbolt.DB
	records *bbolt.DB // nil but for a server of the DHT
	host    host.Host
	bitswap *bitswap
	routers []*router
	names   *names
	peers   *peering.PeeringService
	web     *web

	announcing sync.Mutex

	cancel  context.CancelFunc
	put     chan struct{} // names have changed
	workers sync.WaitGroup
	close   func() error // once, whoever calls
}

// Start starts a node, which goes on after ctx has ended until it is closed.
func Start(ctx context.Context, o Options) (n *Node, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	limits := o.Limits.withDefaults()
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n = &Node{
		options: o,
		store:   &servedBlocks{blocks: o.Blocks, damaged: o.Damaged},
		cancel:  cancel,
		put:     make(chan struct{}, 1),
	}
	n.close = sync.OnceValue(n.end)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
			n = nil
		}
	}()
	if n.state, err = openState(o.State); err != nil {
		return n, err
	}
	if n.names, err = openNames(o.Identity, n.state); err != nil {
		return n, err
	}
	peers, err := parsePeers(o.Peers)
	if err != nil {
		return n, err
	}
	h, err := newHost(&o, limits)
	if err != nil {
		return n, err
	}
	n.host = h
	sent := newThrottle(o.Bandwidth)
	n.bitswap = newBitswap(life, n.host, n.store, sent)
	if o.DHT == DHTServer {
		if n.records, err = openRecords(o.State); err != nil {
			return n, err
		}
	}
	if n.routers, err = openRouters(n.host, &o, n.state, n.records); err != nil {
		return n, err
	}
	n.peers = peering.NewPeeringService(n.host)
	for _, p := range peers {
		n.peers.AddPeer(p)
		// The service itself waits some seconds before it tries first.
		n.workers.Go(func() { _ = n.host.Connect(life, p) })
	}
	if err := n.peers.Start(); err != nil {
		return n, err
	}
	if o.Gateway != "" {
		if n.web, err = newWeb(ctx, o.Gateway, &answers{n.store, n.names}, sent, limits, o.Log); err != nil {
			return n, err
		}
	}
	n.workers.Go(func() { n.keepNames(life) })
	return n, nil
}

var (
	errPublicPeers = errors.New("a private network has no public peers to begin with: leave them out")
	errSlow        = fmt.Errorf("less than %d bytes a second is too slow to send a block", unixfs.LeafSize)
)

func (o *Options) check() error {
	switch {
	case o.Identity == nil || o.Blocks == nil || o.Log == nil || o.State == "":
		return errors.New("a node needs an identity, a state, blocks and a log")
	case o.DHT != DHTClient && o.DHT != DHTServer && o.DHT != DHTOff:
		return fmt.Errorf("%q is no mode of a DHT", o.DHT)
	case o.SwarmKey != nil && slices.ContainsFunc(o.Bootstrap, func(a string) bool { return slices.Contains(PublicPeers(), a) }):
		return errPublicPeers
	case o.Bandwidth != 0 && o.Bandwidth < unixfs.LeafSize:
		return errSlow
	}
	return nil
}

// Close ends all that the node does. What has been announced is announced again by the
// next node with the same state. It may be called again.
func (n *Node) Close() error { return n.close() }

func (n *Node) end() error {
	n.cancel()
	var errs []error
	if n.web != nil {
		errs = append(errs, n.web.close())
	}
	if n.peers != nil {
		n.peers.Stop()
	}
	n.workers.Wait()
	errs = append(errs, closeRouters(n.routers))
	if n.bitswap != nil {
		n.bitswap.close()
	}
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	for _, db := range []*bbolt.DB{n.records, n.state} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Peer is what the network calls the node.
func (n *Node) Peer() string { return n.host.ID().String() }

// Addrs are the addresses that others can be told, which end in /p2p/ and the node.
func (n *Node) Addrs() []string {
	var all []string
	for _, a := range n.host.Addrs() {
		all = append(all, a.String()+"/p2p/"+n.Peer())
	}
	return all
}

// Connect connects the node to others, as multiaddrs that end in /p2p/ and who is there. It
// does nothing for those that it is connected to.
func (n *Node) Connect(ctx context.Context, addresses []string) error {
	peers, err := parsePeers(addresses)
	for _, p := range peers {
		err = errors.Join(err, n.host.Connect(ctx, p))
	}
	return err
}

// Gateway is the address that HTTP is served at, or nothing.
func (n *Node) Gateway() string {
	if n.web == nil {
		return ""
	}
	return n.web.listener.Addr().String()
}

// Stats is what a node has done since it was started.
type Stats struct {
	Peers      int   // that it is connected to
	BlocksSent int64 // by bitswap
	BytesSent  int64 // likewise
	Damaged    int64 // blocks that were not what they should be
}

// Stats returns what the node has done.
func (n *Node) Stats() Stats {
	s := Stats{Peers: len(n.host.Network().Peers()), Damaged: n.store.count.Load()}
	if sent, err := n.bitswap.server.Stat(); err == nil {
		s.BlocksSent, s.BytesSent = int64(sent.BlocksSent), int64(sent.DataSent)
	}
	return s
}
