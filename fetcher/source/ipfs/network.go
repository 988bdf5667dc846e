package ipfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	bitswap "github.com/ipfs/boxo/bitswap/message"
	"github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	p2p "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

// Network is this machine as a peer that asks others for blocks. Nobody can reach
// it, and it has a new identity each time.
type Network struct {
	host    host.Host
	bitswap network.BitSwapNetwork

	mu    sync.Mutex
	peers map[peer.ID]*Peer
}

// Join makes a peer of the public network or, with the text of a swarm key, of the
// private one whose nodes share it.
func Join(swarmKey []byte) (*Network, error) {
	resources, err := resourceManager()
	if err != nil {
		return nil, err
	}
	options := []libp2p.Option{
		libp2p.NoListenAddrs,
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.ResourceManager(resources),
		libp2p.UserAgent("qsync"),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	}
	if swarmKey == nil {
		options = append(options, libp2p.Transport(quic.NewTransport))
	} else {
		key, err := pnet.DecodeV1PSK(bytes.NewReader(swarmKey))
		if err != nil {
			return nil, errors.Join(errSwarmKey, resources.Close())
		}
		options = append(options, libp2p.PrivateNetwork(key))
	}
	h, err := libp2p.New(options...)
	if err != nil {
		return nil, fmt.Errorf("join the network of IPFS: %w", err)
	}
	n := &Network{host: h, bitswap: bsnet.NewFromIpfsHost(h), peers: map[peer.ID]*Peer{}}
	n.bitswap.Start(receiver{n})
	return n, nil
}

// errSwarmKey says nothing of the text.
var errSwarmKey = errors.New("it is no key of a private network: want /key/swarm/psk/1.0.0/, /base16/ and 64 hex digits in three lines")

// What peers may make us receive. One of them sends each block in a stream of its own.
const (
	peerStreams = 32
	peerMemory  = 64 << 20 // bytes that have arrived and nobody has read yet
)

func resourceManager() (p2p.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	config := rcmgr.PartialLimitConfig{PeerDefault: rcmgr.ResourceLimits{
		StreamsInbound: peerStreams, Memory: peerMemory,
	}}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(config.Build(limits.AutoScale())))
}

// Close leaves the network.
func (n *Network) Close() error {
	n.bitswap.Stop()
	return n.host.Close()
}

// Peer is the node at an address, a multiaddr that ends in /p2p/ and its name. There
// is no connection yet.
func (n *Network) Peer(address string) (*Peer, error) {
	a, err := ma.NewMultiaddr(address)
	if err != nil {
		return nil, fmt.Errorf("peer %q: %w", address, err)
	}
	info, err := peer.AddrInfoFromP2pAddr(a)
	if err != nil {
		return nil, fmt.Errorf("peer %q: it does not end in /p2p/ and the name of a node: %w", address, err)
	}
	return n.peer(address, *info), nil
}

func (n *Network) peer(name string, info peer.AddrInfo) *Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[info.ID]
	if p == nil {
		p = newPeer(n, name, info)
		n.peers[info.ID] = p
	}
	return p
}

// receiver passes on what the network brings.
type receiver struct{ n *Network }

func (r receiver) find(id peer.ID) *Peer {
	r.n.mu.Lock()
	defer r.n.mu.Unlock()
	return r.n.peers[id]
}

// ReceiveMessage is told of blocks, and of who does not have them.
func (r receiver) ReceiveMessage(_ context.Context, sender peer.ID, m bitswap.BitSwapMessage) {
	if p := r.find(sender); p != nil {
		p.received(m)
	}
}

// ReceiveError is told of streams that break off. Who waits for a block notices.
func (receiver) ReceiveError(error) {}

// PeerConnected is told of connections.
func (receiver) PeerConnected(peer.ID) {}

// PeerDisconnected is told of those that have ended.
func (r receiver) PeerDisconnected(id peer.ID) {
	if p := r.find(id); p != nil {
		p.disconnected()
	}
}
