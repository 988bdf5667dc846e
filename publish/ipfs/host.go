package ipfs

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/observedaddrs"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
)

// graceTime is how long a new connection is not closed to make room for others.
const graceTime = 20 * time.Second

// p2pHost is a host and what only this one has.
type p2pHost struct {
	host.Host
	closers []func() error // in the order of their making
}

// Close ends the host, and what it is made of after it.
func (h *p2pHost) Close() error {
	var errs []error
	if h.Host != nil {
		errs = append(errs, h.Host.Close())
	}
	for _, closer := range slices.Backward(h.closers) {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

// newHost joins the network. It is put together from parts, since libp2p.New has them
// all: half of the agent would be transports for browsers that nobody uses. What is
// left out is left out on purpose, because a publisher is a server with an address of
// its own:
//
//   - relays, hole punching and port mapping are for machines behind a NAT, and open
//     ways in that nobody has configured;
//   - whether it can be reached is not asked of strangers (AutoNAT): dht: says it;
//   - mDNS, AutoTLS, WebSocket, WebTransport and WebRTC are for browsers and laptops;
//   - nothing is measured for others.
//
// What stays is that peers tell which address they see it under: without that a
// machine whose public address is its provider's NAT, as in most clouds, could not be
// found.
func newHost(o *Options, limits Limits) (_ *p2pHost, err error) {
	h := &p2pHost{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("join the network on %s: %w", strings.Join(o.Listen, ", "), err), h.Close())
		}
	}()
	listen, err := multiaddrs(o.Listen)
	if err != nil {
		return nil, err
	}
	peers, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	h.closers = append(h.closers, peers.Close)
	id, key := o.Identity.id(), o.Identity.key
	if err := errors.Join(peers.AddPrivKey(id, key), peers.AddPubKey(id, key.GetPublic())); err != nil {
		return nil, err
	}
	resources, err := limits.resourceManager()
	if err != nil {
		return nil, err
	}
	h.closers = append(h.closers, resources.Close)
	transports, err := h.transports(o, resources)
	if err != nil {
		return nil, err
	}
	bus := eventbus.NewBus()
	s, err := swarm.NewSwarm(id, peers, bus, swarm.WithResourceManager(resources))
	if err != nil {
		return nil, err
	}
	h.closers = append(h.closers, s.Close)
	for _, t := range transports {
		if err := s.AddTransport(t); err != nil {
			return nil, err
		}
	}
	observed, err := observedaddrs.NewManager(bus, s)
	if err != nil {
		return nil, err
	}
	observed.Start(s)
	h.closers = append(h.closers, observed.Close)
	connections, err := connmgr.NewConnManager(limits.Peers/2, limits.Peers*2/3, connmgr.WithGracePeriod(graceTime))
	if err != nil {
		return nil, err
	}
	h.closers = append(h.closers, connections.Close)
	b, err := basichost.NewHost(s, &basichost.HostOpts{
		EventBus: bus, ConnManager: connections, ObservedAddrsManager: observed, EnablePing: true, UserAgent: "qsync",
	})
	if err != nil {
		return nil, err
	}
	h.Host = b
	if err := s.Listen(listen...); err != nil {
		return nil, err
	}
	b.Start()
	return h, nil
}

// transports are TCP, with TLS or Noise and Yamux above, and QUIC, which has all that.
func (h *p2pHost) transports(o *Options, resources network.ResourceManager) ([]transport.Transport, error) {
	key, psk := o.Identity.key, pnet.PSK(nil)
	if o.SwarmKey != nil {
		var err error
		if psk, err = parseSwarmKey(o.SwarmKey); err != nil {
			return nil, err
		}
	}
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	byTLS, err := tls.New(tls.ID, key, muxers)
	if err != nil {
		return nil, err
	}
	byNoise, err := noise.New(noise.ID, key, muxers)
	if err != nil {
		return nil, err
	}
	up, err := upgrader.New([]sec.SecureTransport{corked{byTLS}, corked{byNoise}}, muxers, psk, resources, nil)
	if err != nil {
		return nil, err
	}
	overTCP, err := tcp.NewTCPTransport(up, resources, nil)
	if err != nil || psk != nil {
		return []transport.Transport{overTCP}, err
	}
	sockets, err := newSockets(resources)
	if err != nil {
		return nil, err
	}
	h.closers = append(h.closers, sockets.Close)
	overQUIC, err := libquic.NewTransport(key, sockets, nil, nil, resources)
	return []transport.Transport{overTCP, overQUIC}, err
}

// newSockets are the UDP sockets of QUIC. Connections count from their first packet.
func newSockets(resources network.ResourceManager) (*quicreuse.ConnManager, error) {
	var reset quic.StatelessResetKey // they need not outlive the process
	var token quic.TokenGeneratorKey
	_, _ = rand.Read(reset[:])
	_, _ = rand.Read(token[:])
	return quicreuse.NewConnManager(reset, token,
		quicreuse.VerifySourceAddress(resources.VerifySourceAddress),
		quicreuse.ConnContext(func(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
			from, err := quicreuse.ToQuicMultiaddr(client.RemoteAddr, quic.Version1)
			if err != nil {
				from = nil // the limits of all hold
			}
			scope, err := resources.OpenConnection(network.DirInbound, false, from)
			if err != nil {
				return ctx, err
			}
			context.AfterFunc(ctx, scope.Done)
			return network.WithConnManagementScope(ctx, scope), nil
		}))
}

// errSwarmKey says nothing of the text.
var errSwarmKey = errors.New("it is no key of a private network: want /key/swarm/psk/1.0.0/, /base16/ and 64 hex digits in three lines")

func parseSwarmKey(text []byte) (pnet.PSK, error) {
	key, err := pnet.DecodeV1PSK(bytes.NewReader(text))
	if err != nil {
		return nil, errSwarmKey
	}
	return key, nil
}

// CheckSwarmKey reports whether a text is the key that the nodes of a private network
// share, as Kubo has it in its file swarm.key.
func CheckSwarmKey(text []byte) error {
	_, err := parseSwarmKey(text)
	return err
}

func multiaddrs(texts []string) ([]ma.Multiaddr, error) {
	all := make([]ma.Multiaddr, len(texts))
	for i, text := range texts {
		var err error
		if all[i], err = ma.NewMultiaddr(text); err != nil {
			return nil, fmt.Errorf("address %q: %w", text, err)
		}
	}
	return all, nil
}

// parsePeers reads addresses of peers that end in /p2p/ and who is there.
func parsePeers(addresses []string) ([]peer.AddrInfo, error) {
	all, err := multiaddrs(addresses)
	if err != nil {
		return nil, err
	}
	peers, err := peer.AddrInfosFromP2pAddrs(all...)
	if err != nil {
		return nil, fmt.Errorf("peers %s: %w", strings.Join(addresses, ", "), err)
	}
	return peers, nil
}

// CheckPeers reports the first address that is none of a node.
func CheckPeers(addresses []string) error {
	_, err := parsePeers(addresses)
	return err
}
