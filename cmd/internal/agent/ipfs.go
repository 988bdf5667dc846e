package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/renameio/v2"
	"golang.org/x/time/rate"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs"
)

// IPFSIdentity reads the identity of the node.
func IPFSIdentity(c *config.IPFS) (*ipfs.Identity, error) {
	text, err := readSecret(c.Identity)
	if err != nil {
		return nil, err
	}
	identity, err := ipfs.ParseIdentity(text)
	if err != nil {
		return nil, fmt.Errorf("read the key %s: %w", c.Identity, err)
	}
	return identity, nil
}

// makeIPFSIdentity makes the identity if there is none.
func makeIPFSIdentity(c *config.IPFS) (*ipfs.Identity, error) {
	identity, err := IPFSIdentity(c)
	if !errors.Is(err, fs.ErrNotExist) {
		return identity, err
	}
	text, err := ipfs.NewIdentity()
	if err == nil {
		err = renameio.WriteFile(c.Identity, text, 0o600)
	}
	if err == nil {
		// Others are told names that follow from it: it must not be lost with the power.
		err = syncDir(filepath.Dir(c.Identity))
	}
	if err != nil {
		return nil, fmt.Errorf("make the identity on IPFS: %w", err)
	}
	return ipfs.ParseIdentity(text)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

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
	key, err := readSecret(c.SwarmKey)
	if err != nil {
		return o, term.WithHint(err, "all nodes of a private network have the same one: copy it from another")
	}
	if err := ipfs.CheckSwarmKey(key); err != nil {
		return o, fmt.Errorf("read the key %s: %w", c.SwarmKey, err)
	}
	o.SwarmKey = key
	return o, nil
}

// nothing is what a node serves that has been given nothing.
type nothing struct{}

func (nothing) Get(context.Context, unixfs.CID) ([]byte, error) { return nil, ipfs.ErrNotFound }
func (nothing) Size(context.Context, unixfs.CID) (int, error)   { return 0, ipfs.ErrNotFound }

// ipfsMemory is what a node keeps in use while many peers ask.
const ipfsMemory = 64 << 20 // bytes

// ipfsNode keeps a node of IPFS as the configuration has it, if it has one. One that
// cannot be started ends nothing else: it is tried again.
type ipfsNode struct {
	blocks func(*config.Agent) (ipfs.Blocks, error)
	log    *slog.Logger

	wanted chan *config.Agent // the newest configuration
	ended  chan struct{}
	cancel context.CancelFunc

	mu        sync.Mutex
	node      *ipfs.Node                   // nil if none runs
	restore   func()                       // the memory limit, when it ends
	announced map[string]ipfs.Announcement // by channel
}

func newIPFSNode(blocks func(*config.Agent) (ipfs.Blocks, error), log *slog.Logger) *ipfsNode {
	ctx, cancel := context.WithCancel(context.Background())
	n := &ipfsNode{
		blocks: blocks, log: log, wanted: make(chan *config.Agent, 1), ended: make(chan struct{}), cancel: cancel,
		announced: map[string]ipfs.Announcement{},
	}
	go n.run(ctx)
	return n
}

// configure sets the configuration that holds from now on. It does not wait.
func (n *ipfsNode) configure(a *config.Agent) {
	select {
	case <-n.wanted: // nobody has looked at it yet
	default:
	}
	n.wanted <- a
}

// close ends the node.
func (n *ipfsNode) close() {
	n.cancel()
	<-n.ended
}

func (n *ipfsNode) run(ctx context.Context) {
	defer close(n.ended)
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
		case a := <-n.wanted:
			if now == nil || !sameNode(now, a) {
				n.stop()
				wait.Reset()
			}
			now = a
		case <-timer.C:
		}
		if now == nil || now.IPFS == nil {
			continue
		}
		if err := n.keep(ctx, now); err != nil {
			again := wait.NextBackOff()
			n.log.Error("the node of IPFS does not run", append(because(err), "again_in", again.Round(time.Second))...)
			timer.Reset(again)
		}
	}
}

// sameNode reports whether a node with the one configuration need not be started
// again for the other.
func sameNode(a, b *config.Agent) bool {
	return a.State == b.State && reflect.DeepEqual(a.IPFS, b.IPFS) && reflect.DeepEqual(a.Targets[0], b.Targets[0])
}

// keep starts the node if it does not run, and ends what it says of channels that are gone.
func (n *ipfsNode) keep(ctx context.Context, a *config.Agent) error {
	if n.node == nil {
		if err := n.start(ctx, a); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.announced, func(channel string, _ ipfs.Announcement) bool { return !slices.Contains(a.ChannelNames(), channel) })
	return n.node.Retain(ctx, a.ChannelNames())
}

func (n *ipfsNode) start(ctx context.Context, a *config.Agent) error {
	o, err := IPFSOptions(a)
	if err != nil {
		return err
	}
	if o.Identity, err = makeIPFSIdentity(a.IPFS); err != nil {
		return err
	}
	o.Blocks, o.Log = nothing{}, n.log
	if n.blocks != nil {
		if o.Blocks, err = n.blocks(a); err != nil {
			return err
		}
	}
	// Whoever asks for a damaged block may ask again and again.
	alarm := rate.Sometimes{First: 10, Interval: time.Minute}
	o.Damaged = func(c unixfs.CID, err error) {
		alarm.Do(func() { n.log.Error("a block cannot be served as it was published", "block", c, "error", err) })
	}
	node, err := ipfs.Start(ctx, o)
	if err != nil {
		return err
	}
	n.log.Info("the node of IPFS has started", "peer", node.Peer(), "addresses", node.Addrs(), "gateway", node.Gateway())
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, announcement := range n.announced {
		if err := node.Announce(ctx, announcement); err != nil {
			return errors.Join(err, node.Close())
		}
	}
	n.node, n.restore = node, allowMemory(ipfsMemory)
	return nil
}

func (n *ipfsNode) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.node == nil {
		return
	}
	if err := n.node.Close(); err != nil {
		n.log.Warn("the node of IPFS has not ended cleanly", "error", err)
	}
	n.restore()
	n.node = nil
	n.log.Info("the node of IPFS has stopped")
}

// announce makes known what there is of a channel, now and when a node is started later.
func (n *ipfsNode) announce(ctx context.Context, announcement ipfs.Announcement) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.announced[announcement.Channel] = announcement
	if n.node == nil {
		return nil
	}
	return n.node.Announce(ctx, announcement)
}
