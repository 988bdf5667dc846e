package ipfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	bitswap "github.com/ipfs/boxo/bitswap/message"
	wants "github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	mh "github.com/multiformats/go-multihash"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// Peer is a node that is asked for blocks by bitswap, and nobody else with it: a
// fetch must know who was slow, who does not have a block, and who lied. The sessions
// of the library would ask all and tell nothing.
type Peer struct {
	network *Network
	name    string
	info    peer.AddrInfo
	stall   time.Duration // how long a peer that is waited for may bring nothing

	places chan struct{} // of those who wait

	connecting sync.Mutex
	sender     network.MessageSender // nil without a connection

	mu    sync.Mutex
	wants map[unixfs.CID][]chan leaf // those who wait
	last  time.Time                  // when the last block came that somebody waited for
	// given are the blocks that came or that nobody waits for any more: they may
	// come once more. What was never asked for may not come. When there are many,
	// they are the older ones, and those that were that are forgotten.
	given, older map[unixfs.CID]bool
	err          error // why it is not used any more
}

var _ Blocks = (*Peer)(nil)

const (
	connectTimeout = 15 * time.Second
	sendTimeout    = 15 * time.Second
	stallTimeout   = 30 * time.Second
	// maxGiven is how many blocks are remembered at least: more than are ever under way.
	maxGiven = 4096
	// maxWants is how many blocks are asked for at a time: as many as a restore has
	// under way with the connections that it takes by itself.
	maxWants = fetcher.DefaultJobs * ahead
)

func newPeer(n *Network, name string, info peer.AddrInfo) *Peer {
	return &Peer{network: n, name: name, info: info, stall: stallTimeout, places: make(chan struct{}, maxWants), wants: map[unixfs.CID][]chan leaf{}, given: map[unixfs.CID]bool{}}
}

// String is the address of the peer.
func (p *Peer) String() string { return p.name }

// Get implements [Blocks].
func (p *Peer) Get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	arriving, err := p.wait(c)
	if err != nil {
		return nil, err
	}
	defer p.leave(c, arriving)
	asked := time.Now()
	stall := time.NewTimer(p.stall)
	defer stall.Stop()
	for {
		select {
		case l := <-arriving:
			return l.block, l.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-stall.C:
			quiet := p.quiet(asked)
			if quiet >= p.stall {
				return nil, fmt.Errorf("no block for %s", p.stall)
			}
			stall.Reset(p.stall - quiet)
		}
	}
}

// wait begins to wait for a block, which the first to do so asks for: on no context of
// his, since his end is not that of others who wait for the same.
func (p *Peer) wait(c unixfs.CID) (arriving chan leaf, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	arriving = make(chan leaf, 1)
	if len(p.wants[c]) == 0 {
		go p.ask(c)
	}
	p.wants[c] = append(p.wants[c], arriving)
	return arriving, nil
}

// leave ends waiting. A block that nobody waits for any more is cancelled.
func (p *Peer) leave(c unixfs.CID, arriving chan leaf) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting, before := p.wants[c], len(p.wants[c])
	if waiting = slices.DeleteFunc(waiting, func(w chan leaf) bool { return w == arriving }); len(waiting) == before {
		return // it was answered
	}
	p.wants[c] = waiting
	if len(waiting) == 0 {
		delete(p.wants, c)
		p.remember(c)
		go p.cancel(c)
	}
}

// ask says that a block is wanted.
func (p *Peer) ask(c unixfs.CID) {
	if err := p.send(context.Background(), c, false); err != nil {
		p.refuse(c, err)
	}
}

// cancel says that a block is not wanted any more. It may come all the same.
func (p *Peer) cancel(c unixfs.CID) {
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	_ = p.send(ctx, c, true)
}

func (p *Peer) wanted(c unixfs.CID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.wants[c]) > 0
}

// refuse tells all who wait for a block that it could not be asked for.
func (p *Peer) refuse(c unixfs.CID, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer(c, leaf{err: err})
}

// remember notes that a block may come though nobody waits. p.mu is held.
func (p *Peer) remember(c unixfs.CID) {
	if len(p.given) >= maxGiven {
		p.given, p.older = map[unixfs.CID]bool{}, p.given
	}
	p.given[c] = true
}

// quiet is how long nothing has come, while somebody has been waiting since asked.
func (p *Peer) quiet(asked time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.After(asked) {
		asked = p.last
	}
	return time.Since(asked)
}

// send says that a block is wanted, or is not any more. It connects if need be.
func (p *Peer) send(ctx context.Context, c unixfs.CID, cancel bool) error {
	m := bitswap.New(false)
	if cancel {
		m.Cancel(libraryCID(c))
	} else {
		m.AddEntry(libraryCID(c), 1, wants.Message_Wantlist_Block, true)
	}
	p.connecting.Lock()
	defer p.connecting.Unlock()
	if cancel && (p.sender == nil || p.wanted(c)) { // somebody has asked for it again meanwhile
		return nil
	}
	if p.sender == nil {
		if err := p.connect(ctx); err != nil {
			return err
		}
	}
	if err := p.sender.SendMsg(ctx, m); err != nil {
		p.sender = nil
		return fmt.Errorf("ask for it: %w", err)
	}
	return nil
}

func (p *Peer) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := p.network.host.Connect(ctx, p.info); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	sender, err := p.network.bitswap.NewMessageSender(ctx, p.info.ID, &network.MessageSenderOpts{MaxRetries: 1, SendTimeout: sendTimeout})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	p.sender = sender
	return nil
}

// disconnected tells all who wait.
func (p *Peer) disconnected() {
	p.connecting.Lock()
	p.sender = nil
	p.connecting.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail(errDisconnected)
}

// fail answers all who wait. p.mu is held.
func (p *Peer) fail(err error) {
	for c, waiting := range p.wants {
		for _, w := range waiting {
			w <- leaf{err: err}
		}
		delete(p.wants, c)
		p.remember(c)
	}
}

var (
	errDisconnected = errors.New("the connection has ended")
	errUnasked      = errors.New("it sends what nobody asked for: what it has is not what it should be")
	errDontHave     = fmt.Errorf("%w: the peer does not have it", fetcher.ErrNotFound)
)

// received passes on what a message brings.
func (p *Peer) received(m *message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range m.blocks {
		switch {
		case p.answer(b.CID, leaf{block: b.body}):
			p.last = time.Now()
		case !p.given[b.CID] && !p.older[b.CID]:
			p.err = backoff.Permanent(errUnasked)
			p.fail(p.err)
			return
		}
	}
	for _, c := range m.missing {
		p.answer(c, leaf{err: errDontHave})
	}
}

// answer passes on a block to all who wait for it, and reports whether anybody did.
// p.mu is held.
func (p *Peer) answer(c unixfs.CID, l leaf) bool {
	waiting, wanted := p.wants[c]
	if !wanted {
		return false
	}
	for _, w := range waiting {
		w <- l
	}
	delete(p.wants, c)
	p.remember(c)
	return true
}

// libraryCID is an address as the libraries have it.
func libraryCID(c unixfs.CID) cid.Cid {
	return cid.NewCidV1(uint64(c.Codec), append(mh.Multihash{mh.SHA2_256, manifest.DigestSize}, c.Digest[:]...))
}
