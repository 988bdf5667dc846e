package ipfs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/dual"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest/unixfs"
)

// routing is what says who has what: the DHT of the public network; or those that nodes
// of a private one use among public and among private addresses. It is joined when it
// is first asked.
type routing struct {
	mu     sync.Mutex
	tables []*dht.IpfsDHT
	failed time.Time // when nobody could be reached
}

func (o *NetworkOptions) bootstrap() ([]peer.AddrInfo, error) {
	if o.Bootstrap == nil && o.SwarmKey == nil {
		return dht.GetDefaultBootstrapPeerAddrInfos(), nil
	}
	var all []peer.AddrInfo
	for _, address := range o.Bootstrap {
		info, err := parsePeer(address)
		if err != nil {
			return nil, err
		}
		all = append(all, info)
	}
	return all, nil
}

const (
	joinTimeout = 20 * time.Second
	joinLook    = 50 * time.Millisecond
	joinAgain   = time.Minute // after which it is tried once more
	// seekTimeout is how long who has something is looked for, and moreTime how long
	// others are once one is known: the DHT goes on for long if there are fewer than
	// were asked for.
	seekTimeout = 30 * time.Second
	moreTime    = 3 * time.Second
)

var (
	errNoDHT       = backoff.Permanent(errors.New("the DHT cannot be reached: none of the nodes that it is found through answers"))
	errNoBootstrap = backoff.Permanent(errors.New("the DHT cannot be reached: no node is known that it could be found through"))
)

// join returns the tables once one of them knows somebody.
func (n *Network) join(ctx context.Context) ([]*dht.IpfsDHT, error) {
	if len(n.start) == 0 {
		return nil, errNoBootstrap
	}
	r := &n.routing
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.failed.IsZero() && time.Since(r.failed) < joinAgain {
		return nil, errNoDHT
	}
	if r.tables == nil {
		kinds := [][]dht.Option{{dht.QueryFilter(dht.PublicQueryFilter), dht.RoutingTableFilter(dht.PublicRoutingTableFilter)}}
		if n.private {
			kinds = [][]dht.Option{nil, {dht.ProtocolExtension(dual.LanExtension)}}
		}
		for _, options := range kinds {
			// Without tries of its own to know more nodes: a fetch asks once or twice.
			t, err := dht.New(n.host, append(options, dht.Mode(dht.ModeClient), dht.BootstrapPeers(n.start...), dht.DisableAutoRefresh())...)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("join the DHT: %w", err), r.closeTables())
			}
			r.tables = append(r.tables, t)
		}
	}
	trying, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	for _, p := range n.start {
		go func() { _ = n.host.Connect(trying, p) }()
	}
	look := time.NewTicker(joinLook)
	defer look.Stop()
	for {
		for _, t := range r.tables {
			if t.RoutingTable().Size() > 0 {
				return r.tables, nil
			}
		}
		select {
		case <-trying.Done():
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			r.failed = time.Now()
			return nil, errNoDHT
		case <-look.C:
		}
	}
}

func (r *routing) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closeTables()
}

func (r *routing) closeTables() (err error) {
	for _, t := range r.tables {
		err = errors.Join(err, t.Close())
	}
	r.tables = nil
	return err
}

// Providers asks the DHT who has the trees of the given roots, and returns as many
// of them as are found soon, at most so many.
func (n *Network) Providers(ctx context.Context, most int, roots ...unixfs.CID) ([]*Peer, error) {
	tables, err := n.join(ctx)
	if err != nil {
		return nil, err
	}
	seeking, cancel := context.WithTimeout(ctx, seekTimeout)
	defer cancel()
	var mu sync.Mutex
	found := map[peer.ID]*Peer{}
	var group errgroup.Group
	for _, t := range tables {
		for _, root := range roots {
			group.Go(func() error {
				for info := range t.FindProvidersAsync(seeking, libraryCID(root), most) {
					mu.Lock()
					if len(found) < most {
						found[info.ID] = n.peer(nameOf(info), info)
						time.AfterFunc(moreTime, cancel)
					}
					if len(found) == most {
						cancel()
					}
					mu.Unlock()
				}
				return nil
			})
		}
	}
	_ = group.Wait() // none of them fails
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var all []*Peer
	for _, p := range found {
		all = append(all, p)
	}
	if all == nil {
		return nil, fmt.Errorf("providers in the DHT: %w: nobody says that he has it", fetcher.ErrNotFound)
	}
	return all, nil
}

// nameOf is what a peer is called that the DHT has told of.
func nameOf(info peer.AddrInfo) string {
	where := ""
	if len(info.Addrs) > 0 {
		where = info.Addrs[0].String()
	}
	return where + "/p2p/" + info.ID.String()
}

// record asks the DHT for the record of a name. The library has checked it.
func (n *Network) record(ctx context.Context, key string) ([]byte, error) {
	tables, err := n.join(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, seekTimeout)
	defer cancel()
	var errs []error
	for _, t := range tables {
		record, err := t.GetValue(ctx, key)
		if err == nil {
			return record, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("ask the DHT: %w", errors.Join(errs...))
}
