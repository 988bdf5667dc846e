package ipfs

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/bitswap/server"
	"github.com/libp2p/go-libp2p/core/host"
	p2p "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// What the bitswap server keeps in memory. A message has two blocks of 1 MiB, which who
// gets it can hash at once, or some more small ones, and is there twice while it is sent.
const (
	bitswapSenders  = 16        // messages that are sent at a time
	bitswapReaders  = 4         // that are prepared meanwhile
	bitswapPerPeer  = 8 << 20   // bytes of blocks under way to one peer, about
	bitswapMessage  = 1<<20 + 1 // bytes of blocks, from which on no more are added
	bitswapWantlist = 1024      // wants of a peer that are remembered
	maxCIDLength    = 64        // one of ours has 36
	// sendTimeout is how long a peer may take for a message. One that takes longer
	// is disconnected: it would keep a sender from all others.
	sendTimeout = 60 * time.Second
)

// bitswap answers peers that want blocks. It asks for none.
type bitswap struct {
	network network.BitSwapNetwork
	server  *server.Server
}

func newBitswap(ctx context.Context, h host.Host, store *servedBlocks, t *throttle) *bitswap {
	n := bsnet.NewFromIpfsHost(&bitswapHost{Host: h, throttle: t, wantlists: newWantlists()})
	s := server.New(ctx, n, store,
		server.TaskWorkerCount(bitswapSenders),
		server.EngineTaskWorkerCount(bitswapReaders),
		server.EngineBlockstoreWorkerCount(bitswapReaders),
		server.MaxOutstandingBytesPerPeer(bitswapPerPeer),
		server.WithTargetMessageSize(bitswapMessage),
		server.MaxQueuedWantlistEntriesPerPeer(bitswapWantlist),
		server.MaxCidSize(maxCIDLength),
	)
	n.Start(&receiver{s})
	return &bitswap{n, s}
}

func (b *bitswap) close() {
	b.network.Stop()
	b.server.Close()
}

// receiver is the server as the network wants it.
type receiver struct{ *server.Server }

// ReceiveError is told of streams that break off: nothing follows from it.
func (receiver) ReceiveError(error) {}

// PeerConnected and PeerDisconnected are passed on by name: the server's own have
// them too.
func (r receiver) PeerConnected(p peer.ID) { r.Server.PeerConnected(p) }

// PeerDisconnected is told of peers that have gone.
func (r receiver) PeerDisconnected(p peer.ID) { r.Server.PeerDisconnected(p) }

// bitswapHost is the host as the bitswap network sees it: what is sent is held back,
// and what is received is bounded.
type bitswapHost struct {
	host.Host
	throttle  *throttle
	wantlists *wantlists
}

// NewStream opens a stream that is held back.
func (h *bitswapHost) NewStream(ctx context.Context, p peer.ID, protocols ...protocol.ID) (p2p.Stream, error) {
	s, err := h.Host.NewStream(ctx, p, protocols...)
	if err != nil {
		return nil, err
	}
	return &sending{s, h.throttle}, nil
}

// SetStreamHandler handles streams whose messages are bounded.
func (h *bitswapHost) SetStreamHandler(id protocol.ID, handle p2p.StreamHandler) {
	h.Host.SetStreamHandler(id, func(s p2p.Stream) { handle(h.wantlists.bound(s)) })
}

// sending is a stream that blocks are sent on.
type sending struct {
	p2p.Stream
	throttle *throttle
}

func (s *sending) Write(p []byte) (int, error) {
	if s.throttle.limiter == nil {
		n, err := s.Stream.Write(p)
		return n, s.judge(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	n, err := s.throttle.write(ctx, p, func() error { return nil }, s.Stream.Write)
	return n, s.judge(err)
}

// judge disconnects a peer that has not taken what it asked for.
func (s *sending) judge(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		s.Conn().Close()
	}
	return err
}

func (s *sending) SetWriteDeadline(t time.Time) error {
	if latest := time.Now().Add(sendTimeout); t.After(latest) {
		t = latest
	}
	return s.Stream.SetWriteDeadline(t)
}
