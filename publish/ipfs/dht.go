package ipfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ipfs/go-cid"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	"github.com/libp2p/go-libp2p-kad-dht/dual"
	"github.com/libp2p/go-libp2p-kad-dht/provider"
	"github.com/libp2p/go-libp2p-kad-dht/provider/keystore"
	"github.com/libp2p/go-libp2p/core/host"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	mh "github.com/multiformats/go-multihash"
	"go.etcd.io/bbolt"
)

// The values of [Options.DHT].
const (
	DHTClient = "client" // asks and provides
	DHTServer = "server" // keeps records for others too: for those who can be reached
	DHTOff    = "off"
)

// PublicPeers are where the public network is found.
func PublicPeers() []string {
	var all []string
	for _, a := range dht.DefaultBootstrapPeers {
		all = append(all, a.String())
	}
	return all
}

// router is a DHT and what is provided in it.
type router struct {
	*dht.IpfsDHT
	provider *provider.SweepingProvider
	keys     keystore.Keystore
}

// openRouters opens the DHTs of the network: the public one; or, if the network is a
// private one, those that nodes of Kubo use there among public and among private
// addresses.
func openRouters(h host.Host, o *Options, state, records *bbolt.DB) (all []*router, err error) {
	if o.DHT == DHTOff {
		return nil, nil
	}
	start, err := parsePeers(o.Bootstrap)
	if err != nil {
		return nil, err
	}
	kinds := map[string][]dht.Option{"public": publicOptions(h)}
	if o.SwarmKey != nil {
		kinds = map[string][]dht.Option{"wan": nil, "lan": {dht.ProtocolExtension(dual.LanExtension)}}
	}
	for name, options := range kinds {
		t, err := openRouter(h, o, name, state, records, append(options, dht.BootstrapPeers(start...)))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("join the DHT: %w", err), closeRouters(all))
		}
		all = append(all, t)
	}
	return all, nil
}

// publicOptions keep what only somebody's own network can use out of everybody's.
func publicOptions(h host.Host) []dht.Option {
	return []dht.Option{
		dht.QueryFilter(dht.PublicQueryFilter),
		dht.RoutingTableFilter(dht.PublicRoutingTableFilter),
		dht.RoutingTablePeerDiversityFilter(dht.NewRTPeerDiversityFilter(h, amino.DefaultMaxPeersPerIPGroupPerCpl, amino.DefaultMaxPeersPerIPGroup)),
		dht.AddressFilter(func(addrs []ma.Multiaddr) []ma.Multiaddr { return ma.FilterAddrs(addrs, manet.IsPublicAddr) }),
	}
}

func openRouter(h host.Host, o *Options, name string, state, records *bbolt.DB, options []dht.Option) (*router, error) {
	mode := dht.ModeClient
	if o.DHT == DHTServer {
		mode = dht.ModeServer
		// What is kept for others must not fill the memory.
		options = append(options, dht.Datastore(within(records, name)))
	}
	d, err := dht.New(h, append(options, dht.Mode(mode))...)
	if err != nil {
		return nil, err
	}
	t := &router{IpfsDHT: d}
	saved := within(state, name)
	if t.keys, err = keystore.NewKeystore(namespace.Wrap(saved, ds.NewKey("keys"))); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	t.provider, err = provider.New(
		provider.WithHost(h),
		provider.WithRouter(d),
		provider.WithMessageSender(d.MessageSender()),
		provider.WithSelfAddrs(d.FilteredAddrs),
		provider.WithReplicationFactor(d.BucketSize()),
		provider.WithAddLocalRecord(func(ctx context.Context, hash mh.Multihash) error {
			return d.Provide(ctx, cid.NewCidV1(cid.Raw, hash), false)
		}),
		provider.WithKeystore(t.keys),
		provider.WithDatastore(namespace.Wrap(saved, ds.NewKey("schedule"))),
		provider.WithResumeCycle(true),
	)
	if err != nil {
		return nil, errors.Join(err, t.keys.Close(), d.Close())
	}
	if err := d.Bootstrap(context.Background()); err != nil {
		return nil, errors.Join(err, closeRouters([]*router{t}))
	}
	return t, nil
}

// within is the part of a file that is called name.
func within(db *bbolt.DB, name string) ds.Batching {
	return namespace.Wrap(&bucketStore{db, providingBucket}, ds.NewKey(name))
}

func closeRouters(all []*router) error {
	var errs []error
	for _, t := range all {
		errs = append(errs, t.provider.Close(), t.keys.Close(), t.Close())
	}
	return errors.Join(errs...)
}

// openRecords opens the file of what a server of the DHT keeps for others. It may be
// lost, and begins empty.
func openRecords(stateFile string) (*bbolt.DB, error) {
	file := stateFile + ".records"
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	db, err := openState(file)
	if err == nil {
		db.NoSync = true
	}
	return db, err
}

// put puts a record into all DHTs. It is not everywhere yet if one knows nobody: that
// passes, or is the rule for one of those of a private network.
func put(ctx context.Context, all []*router, key string, record []byte) (everywhere bool, err error) {
	everywhere = true
	var errs []error
	for _, t := range all {
		if t.RoutingTable().Size() == 0 {
			everywhere = false
		} else if err := t.PutValue(ctx, key, record); err != nil {
			errs = append(errs, err)
		}
	}
	return everywhere && len(errs) == 0, errors.Join(errs...)
}
