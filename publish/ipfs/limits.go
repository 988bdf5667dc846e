package ipfs

import (
	"cmp"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// Limits bounds what strangers can make a node do. 0 is the default of each.
type Limits struct {
	// Peers is how many connections of peers there can be. Beyond two thirds of
	// them, those that nothing is sent over are closed. Default: 384.
	Peers int
	// Readers is how many connections to the gateway there can be. Default: 256.
	Readers int
	// Requests is how many of them are answered at a time. Each takes 1 MiB.
	// Default: 48.
	Requests int
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Peers:    cmp.Or(l.Peers, 384),
		Readers:  cmp.Or(l.Readers, 256),
		Requests: cmp.Or(l.Requests, 48),
	}
}

// peerMemory is what the library may set aside for all connections, most of all for
// what it receives and nobody has read yet.
const peerMemory = 96 << 20 // bytes

// resourceManager counts connections, streams and memory, those of each peer too.
func (l Limits) resourceManager() (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	peers := rcmgr.LimitVal(l.Peers)
	config := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: peers, ConnsInbound: peers, ConnsOutbound: peers, FD: peers,
			Streams: 16 * peers, StreamsInbound: 8 * peers, StreamsOutbound: 8 * peers,
			Memory: peerMemory,
		},
		Transient: rcmgr.ResourceLimits{
			Conns: peers / 4, ConnsInbound: peers / 4, ConnsOutbound: peers / 4, FD: peers / 4,
			Memory: peerMemory / 4,
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: 8, ConnsInbound: 4, ConnsOutbound: 4, FD: 8,
			Streams: 128, StreamsInbound: 32, StreamsOutbound: 96,
			Memory: peerMemory / 4,
		},
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(config.Build(limits.AutoScale())))
}
