package ipfs

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/sec"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	quicgo "github.com/quic-go/quic-go"

	"github.com/qsync/qsync/manifest/unixfs"
)

// client is a host that connects to others, which nobody can connect to.
type client struct {
	host.Host
	closers []func() error // in the order of their making
}

// Close ends the host, and what it is made of after it.
func (c *client) Close() error {
	var errs []error
	if c.Host != nil {
		errs = append(errs, c.Host.Close())
	}
	for _, closer := range slices.Backward(c.closers) {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

// newClient puts a host together, with a new identity. libp2p.New would link what only
// browsers and those who listen use: it makes the program twice as large.
func newClient(swarmKey []byte) (_ *client, err error) {
	c := &client{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	var psk pnet.PSK
	if swarmKey != nil {
		if psk, err = pnet.DecodeV1PSK(bytes.NewReader(swarmKey)); err != nil {
			return c, errSwarmKey
		}
	}
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return c, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return c, err
	}
	peers, err := pstoremem.NewPeerstore()
	if err != nil {
		return c, err
	}
	c.closers = append(c.closers, peers.Close)
	if err := errors.Join(peers.AddPrivKey(id, key), peers.AddPubKey(id, key.GetPublic())); err != nil {
		return c, err
	}
	resources, err := resourceManager()
	if err != nil {
		return c, err
	}
	c.closers = append(c.closers, resources.Close)
	bus := eventbus.NewBus()
	s, err := swarm.NewSwarm(id, peers, bus, swarm.WithResourceManager(resources))
	if err != nil {
		return c, err
	}
	c.closers = append(c.closers, s.Close)
	if err := c.addTransports(s, key, psk, resources); err != nil {
		return c, err
	}
	b, err := basichost.NewHost(s, &basichost.HostOpts{EventBus: bus, UserAgent: "qsync"})
	if err != nil {
		return c, err
	}
	c.Host = b
	b.Start()
	return c, nil
}

// errSwarmKey says nothing of the text.
var errSwarmKey = errors.New("it is no key of a private network: want /key/swarm/psk/1.0.0/, /base16/ and 64 hex digits in three lines")

// addTransports adds TCP, with TLS or Noise and Yamux above, and QUIC, which has all
// that and is for the public network only.
func (c *client) addTransports(s *swarm.Swarm, key crypto.PrivKey, psk pnet.PSK, resources network.ResourceManager) error {
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: muxer()}}
	byTLS, err := tls.New(tls.ID, key, muxers)
	if err != nil {
		return err
	}
	byNoise, err := noise.New(noise.ID, key, muxers)
	if err != nil {
		return err
	}
	up, err := upgrader.New([]sec.SecureTransport{byTLS, byNoise}, muxers, psk, resources, nil)
	if err != nil {
		return err
	}
	overTCP, err := tcp.NewTCPTransport(up, resources, nil)
	if err != nil {
		return err
	}
	if err := s.AddTransport(overTCP); err != nil || psk != nil {
		return err
	}
	sockets, err := quicreuse.NewConnManager(quicgo.StatelessResetKey{}, quicgo.TokenGeneratorKey{}) // those who listen have secrets there
	if err != nil {
		return err
	}
	c.closers = append(c.closers, sockets.Close)
	overQUIC, err := quic.NewTransport(key, sockets, nil, nil, resources)
	if err != nil {
		return err
	}
	return s.AddTransport(overQUIC)
}

// streamWindow is how much of a stream may be under way at once from its beginning on:
// a message with two blocks, as our own nodes send them. The library begins with an eighth
// of that, so that each message, which comes in a stream of its own, would be held up for
// some round trips.
const streamWindow = 2<<20 + 64<<10

func muxer() *yamux.Transport {
	config := *yamux.DefaultTransport.Config()
	config.InitialStreamWindowSize = streamWindow
	return (*yamux.Transport)(&config)
}

// What a peer may make us receive: all that it is asked for, if each block comes in a
// stream of its own. What is refused would be waited for until the peer counts as stalled.
const (
	peerStreams = 2*maxWants + 32                             // with what was cancelled and comes all the same
	peerMemory  = maxWants * (streamWindow + unixfs.LeafSize) // bytes: of windows that have grown, and of messages that are not whole yet
)

func resourceManager() (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	peer := rcmgr.ResourceLimits{StreamsInbound: peerStreams, Streams: 4 * peerStreams, Memory: peerMemory}
	all := rcmgr.ResourceLimits{Memory: 4 * peerMemory}
	config := rcmgr.PartialLimitConfig{System: all, Transient: all, ProtocolDefault: all, PeerDefault: peer, ProtocolPeerDefault: peer}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(config.Build(limits.AutoScale())))
}
