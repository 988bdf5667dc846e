package ipfs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	bitswap "github.com/ipfs/boxo/bitswap/message"
	"github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Network is this machine as a peer that asks others for blocks. Nobody can reach
// it, and it has a new identity each time.
type Network struct {
	host    *client
	bitswap network.BitSwapNetwork
	private bool
	start   []peer.AddrInfo // where the DHT is found

	mu    sync.Mutex
	peers map[peer.ID]*Peer

	routing routing
}

// NetworkOptions say which network to join.
type NetworkOptions struct {
	// SwarmKey is the text of the key that the nodes of a private network share, as
	// Kubo has it in its file swarm.key; nil is the public network.
	SwarmKey []byte
	// Bootstrap are the nodes that the DHT is found through, as multiaddrs that end in
	// /p2p/ and who is there. nil are those of the public network.
	Bootstrap []string
}

// Join makes a peer of a network. There are no connections yet.
func Join(o NetworkOptions) (*Network, error) {
	start, err := o.bootstrap()
	if err != nil {
		return nil, err
	}
	h, err := newClient(o.SwarmKey)
	if err != nil {
		return nil, fmt.Errorf("join the network of IPFS: %w", err)
	}
	n := &Network{host: h, bitswap: bsnet.NewFromIpfsHost(h), private: o.SwarmKey != nil, start: start, peers: map[peer.ID]*Peer{}}
	n.bitswap.Start(receiver{n})
	for _, id := range protocols {
		h.SetStreamHandler(id, n.receive)
	}
	return n, nil
}

// Close leaves the network.
func (n *Network) Close() error {
	err := n.routing.close()
	n.bitswap.Stop()
	return errors.Join(err, n.host.Close())
}

// Peer is the node at an address, a multiaddr that ends in /p2p/ and its name. There
// is no connection yet.
func (n *Network) Peer(address string) (*Peer, error) {
	info, err := parsePeer(address)
	if err != nil {
		return nil, err
	}
	return n.peer(address, info), nil
}

func parsePeer(address string) (peer.AddrInfo, error) {
	a, err := ma.NewMultiaddr(address)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("peer %q: %w", address, err)
	}
	info, err := peer.AddrInfoFromP2pAddr(a)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("peer %q: it does not end in /p2p/ and the name of a node: %w", address, err)
	}
	return *info, nil
}

// CheckPeer reports what is wrong with the address of a peer.
func CheckPeer(address string) error {
	_, err := parsePeer(address)
	return err
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

func (n *Network) find(id peer.ID) *Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peers[id]
}

// receiver is told of connections.
type receiver struct{ n *Network }

// ReceiveMessage is told of messages of versions of bitswap that nobody is asked in.
func (receiver) ReceiveMessage(context.Context, peer.ID, bitswap.BitSwapMessage) {}

// ReceiveError is told of streams that break off. Who waits for a block notices.
func (receiver) ReceiveError(error) {}

// PeerConnected is told of connections.
func (receiver) PeerConnected(peer.ID) {}

// PeerDisconnected is told of those that have ended.
func (r receiver) PeerDisconnected(id peer.ID) {
	if p := r.n.find(id); p != nil {
		p.disconnected()
	}
}
