package ipfs

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bitswap "github.com/ipfs/boxo/bitswap/message"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// TestPeer: all blocks of a tree come from the library's server, over each transport.
func TestPeer(t *testing.T) {
	f := forest{}
	f.tree(t, map[string][]byte{"a": random("a", 40*unixfs.LeafSize+5), "b/c": random("c", 3)})
	for name, listen := range map[string]string{"tcp": "/ip4/127.0.0.1/tcp/0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(name, func(t *testing.T) {
			p := join(t).to(t, newNode(t, libp2p.ListenAddrStrings(listen)).serve(t, f))
			var group sync.WaitGroup
			for c, want := range f {
				group.Go(func() {
					if got, err := p.Get(t.Context(), c); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s: %d bytes, %v; want %d", c, len(got), err, len(want))
					}
				})
			}
			group.Wait()
		})
	}
}

var wanted = unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum([]byte("wanted"))}

// TestPeerAnswers: what a peer does is told of by the error.
func TestPeerAnswers(t *testing.T) {
	permanent := func(err error) bool { return errors.As(err, new(*backoff.PermanentError)) }
	for name, c := range map[string]struct {
		do   answer
		want func(err error) bool
	}{
		"it": {func(n *node, to peer.ID, _ unixfs.CID) { n.send(to, []byte("wanted")) }, func(err error) bool { return err == nil }},
		"it twice": {func(n *node, to peer.ID, _ unixfs.CID) {
			n.send(to, []byte("wanted"))
			n.send(to, []byte("wanted"))
		}, func(err error) bool { return err == nil }},
		"another block": {func(n *node, to peer.ID, _ unixfs.CID) { n.send(to, []byte("other")) }, permanent},
		"that it has none": {func(n *node, to peer.ID, c unixfs.CID) {
			m := bitswap.New(false)
			m.AddDontHave(libraryCID(c))
			_ = n.network.SendMessage(context.Background(), to, m)
		}, func(err error) bool { return errors.Is(err, fetcher.ErrNotFound) }},
		"nothing": {func(*node, peer.ID, unixfs.CID) {}, func(err error) bool {
			return err != nil && strings.Contains(err.Error(), "no block for 300ms") && !permanent(err)
		}},
		"an end": {func(n *node, to peer.ID, _ unixfs.CID) { _ = n.Network().ClosePeer(to) }, func(err error) bool { return errors.Is(err, errDisconnected) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := join(t).to(t, newNode(t, loopback).do(t, c.do))
			p.stall = 5 * time.Second
			if name == "nothing" {
				p.stall = 300 * time.Millisecond
			}
			for range 2 { // also the next time
				if b, err := p.Get(t.Context(), wanted); !c.want(err) {
					t.Errorf("%q, %v", b, err)
				}
			}
		})
	}
}

// TestPeerKeepsBusy: who answers others only, or says the same again and again, does not
// keep a reader waiting for ever.
func TestPeerKeepsBusy(t *testing.T) {
	p := join(t).to(t, newNode(t, loopback).do(t, func(n *node, to peer.ID, c unixfs.CID) {
		if c != wanted {
			n.send(to, []byte("given"))
			return
		}
		for range 100 {
			n.send(to, []byte("given"))
			time.Sleep(20 * time.Millisecond)
		}
	}))
	p.stall = 300 * time.Millisecond
	if _, err := p.Get(t.Context(), unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum([]byte("given"))}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := p.Get(t.Context(), wanted); err == nil || time.Since(start) > time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

// TestPeerSendsAtOnce: all that may be asked for arrives, also if it is all under way at
// the same time; and no more than that is asked for.
func TestPeerSendsAtOnce(t *testing.T) {
	f := forest{}
	f.file(random("at once", (maxWants+8)*unixfs.LeafSize))
	var asked atomic.Int64
	begun := make(chan bool)
	p := join(t).to(t, newNode(t, loopback).do(t, func(n *node, to peer.ID, c unixfs.CID) {
		body, ours := f[c]
		s, err := n.NewStream(t.Context(), to, protocols[0])
		if err != nil || !ours {
			t.Errorf("%s: %v", c, err)
			return
		}
		defer s.Close()
		var message bytes.Buffer
		m := bitswap.New(false)
		m.AddBlock(blockOf(body))
		_ = m.ToNetV1(&message)
		half := message.Next(message.Len() / 2)
		if _, err := s.Write(half); err != nil {
			t.Errorf("%s: %v", c, err)
		}
		if asked.Add(1) == maxWants {
			time.AfterFunc(100*time.Millisecond, func() { // for who asks too much
				if n := asked.Load(); n > maxWants {
					t.Errorf("%d are asked for", n)
				}
				close(begun)
			})
		}
		select {
		case <-begun:
		case <-t.Context().Done():
			return
		}
		if _, err := s.Write(message.Bytes()); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}))
	p.stall = 10 * time.Second
	var group sync.WaitGroup
	for c, want := range f {
		if c.Codec == unixfs.Raw {
			group.Go(func() {
				if got, err := p.Get(t.Context(), c); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v; want %d", c, len(got), err, len(want))
				}
			})
		}
	}
	group.Wait()
}

// TestPeerLeft: a reader that goes leaves nothing behind, and the others get theirs.
func TestPeerLeft(t *testing.T) {
	asked, release := make(chan bool, 10), make(chan bool)
	p := join(t).to(t, newNode(t, loopback).do(t, func(n *node, to peer.ID, _ unixfs.CID) {
		asked <- true
		<-release
		n.send(to, []byte("wanted"))
	}))
	ctx, cancel := context.WithCancel(t.Context())
	left, stayed := make(chan error, 1), make(chan error, 1)
	get := func(ctx context.Context, done chan error) { _, err := p.Get(ctx, wanted); done <- err }
	go get(ctx, left)
	<-asked
	go get(t.Context(), stayed)
	for p.waiting() < 2 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(release)
	if err := <-stayed; err != nil {
		t.Error(err)
	}
	// What comes after all have gone is no lie.
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := p.Get(ctx, wanted); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := p.waiting(); n != 0 {
		t.Errorf("%d wait", n)
	}
	if _, err := p.Get(t.Context(), wanted); err != nil {
		t.Error(err)
	}
}

func (p *Peer) waiting() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.wants {
		n += len(w)
	}
	return n
}

// TestPeerComesBack: a peer that dies is noticed at once, and used again when it is back.
func TestPeerComesBack(t *testing.T) {
	f := forest{}
	f.file([]byte("wanted"))
	who := identity(t)
	first := newNode(t, loopback, who)
	first.do(t, func(n *node, _ peer.ID, _ unixfs.CID) { n.Close() })
	p := join(t).to(t, first)
	if _, err := p.Get(t.Context(), wanted); !errors.Is(err, errDisconnected) {
		t.Fatal(err)
	}
	if _, err := p.Get(t.Context(), wanted); err == nil || !strings.Contains(err.Error(), "connect: ") {
		t.Fatal(err)
	}
	newNode(t, who, libp2p.ListenAddrs(first.addrs...)).serve(t, f)
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, err = p.Get(t.Context(), wanted); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// TestBadPeer: what is wrong with an address is said.
func TestBadPeer(t *testing.T) {
	for address, want := range map[string]string{
		"":                                   "peer",
		"127.0.0.1:4001":                     "peer \"127.0.0.1:4001\"",
		"/ip4/127.0.0.1/tcp/4001":            "does not end in /p2p/",
		"/ip4/127.0.0.1/tcp/4001/p2p/nobody": "peer",
	} {
		if err := CheckPeer(address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := Join(NetworkOptions{SwarmKey: []byte("/key/swarm/psk/1.0.0/\n/base16/\nsecret")}); !errors.Is(err, errSwarmKey) || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
