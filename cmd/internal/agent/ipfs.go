package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/secret"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs"
)

// IPFSOptions is what the configuration says of the node, but for its identity and
// what it serves.
func IPFSOptions(a *config.Agent) (ipfs.Options, error) {
	c := a.IPFS
	o := ipfs.Options{
		State:     filepath.Join(a.State, "ipfs.db"),
		Listen:    c.Swarm,
		DHT:       c.DHT,
		Bootstrap: c.Bootstrap,
		Peers:     c.Peers,
		Gateway:   c.Gateway,
		Bandwidth: int64(c.Bandwidth),
	}
	if c.SwarmKey == "" {
		if o.Bootstrap == nil {
			o.Bootstrap = ipfs.PublicPeers()
		}
		return o, nil
	}
	key, err := secret.Read(c.SwarmKey)
	if err != nil {
		return o, term.WithHint(fmt.Errorf("read the key: %w", err), "all nodes of a private network have the same one: copy it from another")
	}
	if err := ipfs.CheckSwarmKey(key); err != nil {
		return o, fmt.Errorf("read the key %s: %w", c.SwarmKey, err)
	}
	o.SwarmKey = key
	return o, nil
}

// ipfsMemory is what a node keeps in use while many peers ask.
const ipfsMemory = 64 << 20 // bytes

// ipfsNode keeps a node of IPFS as the configuration has it, if it has one, and makes
// known what is published. A node that cannot be started ends nothing else: it is
// tried again.
type ipfsNode struct {
	*beside
	log *slog.Logger

	// What runs. Nobody but run touches it; there is nothing if running is nil.
	running *runningNode
	node    atomic.Pointer[ipfs.Node] // likewise, for those who want to know how it does
}

// runningNode is a node that runs, with what it serves and who mirrors it.
type runningNode struct {
	node    *ipfs.Node
	trees   *trees
	state   string // directory
	sites   map[string]string
	mirrors []*mirroring
	cancel  context.CancelFunc // of the mirrors
	workers sync.WaitGroup
	restore func() // the memory limit, when it ends
}

// lookAtTrees is how often is looked whether something was published by hand.
const lookAtTrees = time.Minute

func newIPFSNode(log *slog.Logger) *ipfsNode {
	n := &ipfsNode{log: log}
	n.beside = newBeside(n.run)
	return n
}

func (n *ipfsNode) run(ctx context.Context, b *beside) {
	defer n.stop()
	var now *config.Agent // that the node runs with, or shall
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = time.Second, 5*time.Minute
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-b.wanted:
			if now == nil || !sameNode(now, a) {
				n.stop()
				wait.Reset()
			}
			now = a
		case <-b.events:
		case <-timer.C:
		}
		if now == nil || now.IPFS == nil {
			continue
		}
		next := lookAtTrees
		if err := n.keep(ctx, now); err == nil {
			wait.Reset()
		} else if ctx.Err() == nil {
			next = wait.NextBackOff()
			n.log.Error("what is published is not on IPFS", append(because(err), "again_in", next.Round(time.Second))...)
		}
		timer.Reset(next)
	}
}

// sameNode reports whether a node with the one configuration need not be started
// again for the other.
func sameNode(a, b *config.Agent) bool {
	return a.State == b.State && a.Publisher == b.Publisher && a.Key == b.Key &&
		reflect.DeepEqual(a.IPFS, b.IPFS) && reflect.DeepEqual(a.Targets[0], b.Targets[0])
}

// keep starts the node if it does not run, makes known what is new, and ends what it
// says of channels that are gone.
func (n *ipfsNode) keep(ctx context.Context, a *config.Agent) (err error) {
	if n.running == nil {
		if n.running, err = n.start(ctx, a); err != nil {
			return fmt.Errorf("start the node: %w", err)
		}
	}
	r := n.running
	for _, channel := range a.ChannelNames() {
		found, err := r.trees.look(ctx, channel)
		if err != nil {
			return err
		}
		if found == nil || len(found.versions) == 0 {
			continue
		}
		if err := r.node.Announce(ctx, found.announcement); err != nil {
			r.trees.forget(channel) // it is to be announced yet
			return err
		}
		for _, m := range r.mirrors {
			m.want(channel, found.versions)
		}
		r.sites[channel] = found.announcement.Site.String()
		n.log.Info("on IPFS", "channel", channel, "versions", len(found.versions), "site", found.announcement.Site, "roots", len(found.announcement.Roots))
	}
	maps.DeleteFunc(r.sites, func(channel, _ string) bool { return !slices.Contains(a.ChannelNames(), channel) })
	standing := &IPFSStanding{Addresses: r.node.Addrs(), Gateway: r.node.Gateway(), Sites: r.sites}
	return errors.Join(r.node.Retain(ctx, a.ChannelNames()), r.trees.keep(a.ChannelNames()), standing.save(r.state))
}

func (n *ipfsNode) start(ctx context.Context, a *config.Agent) (*runningNode, error) {
	o, err := IPFSOptions(a)
	if err != nil {
		return nil, err
	}
	if o.Identity, err = secret.MakeIdentity(a.IPFS.Identity); err != nil {
		return nil, err
	}
	publisher, err := NewPublisher(a, n.log)
	if err != nil {
		return nil, err
	}
	trees, err := openTrees(a, publisher)
	if err != nil {
		return nil, err
	}
	o.Blocks, o.Log = trees.view, n.log
	// Whoever asks for a damaged block may ask again and again.
	alarm := rate.Sometimes{First: 10, Interval: time.Minute}
	o.Damaged = func(c unixfs.CID, err error) {
		alarm.Do(func() { n.log.Error("a block cannot be served as it was published", "block", c, "error", err) })
	}
	node, err := ipfs.Start(ctx, o)
	if err != nil {
		return nil, errors.Join(err, trees.view.Close())
	}
	n.log.Info("the node of IPFS has started", "peer", node.Peer(), "addresses", node.Addrs(), "gateway", node.Gateway())
	r := &runningNode{node: node, trees: trees, state: a.State, sites: map[string]string{}, restore: allowMemory(ipfsMemory)}
	n.node.Store(node)
	ctx, r.cancel = context.WithCancel(ctx)
	for _, m := range newMirrors(a, trees.view, node) {
		keeper := newMirroring(m, n.log)
		r.mirrors = append(r.mirrors, keeper)
		r.workers.Go(func() { keeper.run(ctx) })
	}
	return r, nil
}

func (n *ipfsNode) stop() {
	r := n.running
	if r == nil {
		return
	}
	n.node.Store(nil)
	r.cancel()
	r.workers.Wait()
	if err := errors.Join(forgetStanding(r.state), r.node.Close(), r.trees.view.Close()); err != nil {
		n.log.Warn("the node of IPFS has not ended cleanly", "error", err)
	}
	r.restore()
	n.running = nil
	n.log.Info("the node of IPFS has stopped")
}
