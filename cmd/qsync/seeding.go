package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/secret"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs"
)

// seedingOptions are how a directory is given to others.
type seedingOptions struct {
	listen []string
	http   string // address; empty is none
	dht    string
	rate   term.Bytes // a second
}

// defaultRate leaves room on the lines of most: who seeds does something else besides.
const defaultRate = 20 << 20 // bytes a second

func defaultSeeding() seedingOptions {
	return seedingOptions{dht: ipfs.DHTClient, rate: defaultRate}
}

// addFlags adds the flags, whose names begin with prefix.
func (o *seedingOptions) addFlags(cmd *cobra.Command, prefix string) {
	flags := cmd.Flags()
	flags.StringArrayVar(&o.listen, prefix+"listen", nil, "`MULTIADDR` at which other nodes reach it; may be repeated (default: port 4001 of TCP and QUIC)")
	flags.StringVar(&o.http, prefix+"http", "", "`ADDRESS` at which it is a gateway as well, like :8081")
	flags.StringVar(&o.dht, prefix+"dht", o.dht, "how it is made known: client, server or off; see qsyncd's dht:")
	flags.Var(&o.rate, prefix+"rate", "most `BYTES` a second that are given")
}

func (o *seedingOptions) check() error {
	switch {
	case !slices.Contains([]string{ipfs.DHTClient, ipfs.DHTServer, ipfs.DHTOff}, o.dht):
		return term.Usagef("dht %q: want client, server or off", o.dht)
	case o.rate < unixfs.LeafSize:
		return term.Usagef("%s a second is less than a block: want 1MiB or more", term.Size(int64(o.rate)))
	}
	if o.http != "" {
		if _, _, err := net.SplitHostPort(o.http); err != nil {
			return term.Usagef("%q is no address and port, like :8081", o.http)
		}
	}
	return nil
}

// seedRefresh is how often is looked for a newer version. seedReport is how often is said
// what was given.
const (
	seedRefresh = time.Hour
	seedReport  = 10 * time.Minute
)

// seeding gives a directory to others.
type seeding struct {
	seedingOptions
	publisher publisher
	directory string // absolute
	out       *term.Output

	node   *ipfs.Node
	blocks layers
}

type seedingEvent struct {
	Event     string   `json:"event"`
	Channel   string   `json:"channel"`
	Version   string   `json:"version"`
	Directory string   `json:"directory"`
	Addresses []string `json:"addresses"`
	Gateway   string   `json:"gateway,omitempty"`
}

type seededEvent struct {
	Event     string `json:"event"`
	SentBytes int64  `json:"sent_bytes"` // by bitswap
}

// run gives the chunks of a version, and of newer ones, until ctx ends.
func (s *seeding) run(ctx context.Context, m *manifest.Manifest) (err error) {
	if err := s.add(ctx, m); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.blocks.close()) }()
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.node.Close()) }()
	if err := s.announce(ctx, m); err != nil {
		return err
	}
	addresses, gateway := s.node.Addrs(), s.node.Gateway()
	if s.out.JSON {
		s.out.Event(seedingEvent{"seeding", m.Channel, m.Version, s.directory, addresses, gateway})
	} else {
		for _, a := range addresses {
			s.out.Result("%s", a)
		}
		if gateway != "" {
			s.out.Result("http://%s", gateway)
		}
		s.out.Say("seeding %s %s from %s, with at most %s a second", m.Channel, m.Version, s.directory, term.Size(int64(s.rate)))
	}
	s.keep(ctx, m)
	sent := s.node.Stats().BytesSent
	if s.out.JSON {
		s.out.Event(seededEvent{"done", sent})
	} else {
		s.out.Say("seeded %s", term.Size(sent))
	}
	return nil
}

// keep follows the channel until ctx ends.
func (s *seeding) keep(ctx context.Context, m *manifest.Manifest) {
	log := s.out.Log()
	refresh, report := time.NewTicker(seedRefresh), time.NewTicker(seedReport)
	defer refresh.Stop()
	defer report.Stop()
	var said int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-report.C:
			if now := s.node.Stats(); now.BytesSent != said {
				said = now.BytesSent
				log.Info("seeding", "sent_bytes", said, "peers", now.Peers)
			}
		case <-refresh.C:
			newest, err := s.follow(ctx, m)
			if err != nil {
				log.Warn("it is not known whether there is a newer version", "err", err)
				continue
			}
			m = newest
		}
	}
}

// follow gives the chunks of the newest version too.
func (s *seeding) follow(ctx context.Context, m *manifest.Manifest) (*manifest.Manifest, error) {
	newest, err := s.publisher.repository.Manifest(ctx, m.Channel, "")
	if err != nil || newest.Version == m.Version {
		return m, err
	}
	if err := s.add(ctx, newest); err != nil {
		return m, err
	}
	return newest, s.announce(ctx, newest)
}

// add adds the chunks that a version has in common with the directory.
func (s *seeding) add(ctx context.Context, m *manifest.Manifest) error {
	x, _, err := s.publisher.repository.Index(ctx, m)
	if err != nil {
		return err
	}
	restored, err := ipfs.OpenRestored(s.directory, x)
	if err != nil {
		return err
	}
	s.blocks.push(restored)
	return nil
}

// announce lets others find who has something of the version.
func (s *seeding) announce(ctx context.Context, m *manifest.Manifest) error {
	if m.IPFS == nil {
		return nil // nobody knows what to look for
	}
	root, err := unixfs.ParseCID(m.IPFS.Raw)
	if err != nil {
		return err
	}
	return s.node.Provide(ctx, m.Channel, []unixfs.CID{root})
}

// start starts the node. It is known by the same name each time, so that others can
// write its address down.
func (s *seeding) start(ctx context.Context) error {
	key := sha256.Sum256([]byte(s.directory))
	state := filepath.Join(s.publisher.repository.Marks.Dir, "seeds")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	file := filepath.Join(state, hex.EncodeToString(key[:8]))
	identity, err := secret.MakeIdentity(file + ".key")
	if err != nil {
		return err
	}
	o := ipfs.Options{
		Identity: identity, State: file + ".db", Blocks: &s.blocks, Listen: s.listen, DHT: s.dht,
		Gateway: s.http, Bandwidth: int64(s.rate), Log: slog.New(slog.DiscardHandler),
	}
	conf := s.publisher.swarm.conf
	o.Bootstrap = conf.Bootstrap
	if conf.SwarmKey != "" {
		if o.SwarmKey, err = secret.Read(conf.SwarmKey); err != nil {
			return fmt.Errorf("read the key of the private network: %w", err)
		}
	}
	if o.Listen == nil {
		o.Listen = config.DefaultSwarm(o.SwarmKey != nil)
	}
	if o.Bootstrap == nil && o.SwarmKey == nil {
		o.Bootstrap = ipfs.PublicPeers()
	}
	if s.node, err = ipfs.Start(ctx, o); err != nil {
		return term.WithHint(err, "another node may have the port, or give this directory already: choose others with --listen")
	}
	return nil
}

// layers are the trees of the newest version and of that before it, cut out of one
// directory.
type layers struct {
	top atomic.Pointer[[]*ipfs.Restored] // the newest first
}

// maxLayers is how many versions are given at a time: each takes some 50 MB for a terabyte.
const maxLayers = 2

func (l *layers) all() []*ipfs.Restored {
	if top := l.top.Load(); top != nil {
		return *top
	}
	return nil
}

// push puts a version above the others. The one that the directory was restored to stays,
// and that between them goes.
func (l *layers) push(r *ipfs.Restored) {
	now := l.all()
	if len(now) < maxLayers {
		all := append([]*ipfs.Restored{r}, now...)
		l.top.Store(&all)
		return
	}
	all := []*ipfs.Restored{r, now[len(now)-1]}
	l.top.Store(&all)
	time.AfterFunc(time.Minute, func() { _ = now[0].Close() }) // somebody may be reading
}

func (l *layers) close() error {
	var err error
	for _, r := range l.all() {
		err = errors.Join(err, r.Close())
	}
	return err
}

// Get implements [ipfs.Blocks].
func (l *layers) Get(ctx context.Context, c unixfs.CID) (block []byte, err error) {
	err = ipfs.ErrNotFound
	for _, r := range l.all() {
		if block, err = r.Get(ctx, c); !errors.Is(err, ipfs.ErrNotFound) {
			return block, err
		}
	}
	return nil, err
}

// Size implements [ipfs.Blocks].
func (l *layers) Size(ctx context.Context, c unixfs.CID) (size int, err error) {
	err = ipfs.ErrNotFound
	for _, r := range l.all() {
		if size, err = r.Size(ctx, c); !errors.Is(err, ipfs.ErrNotFound) {
			return size, err
		}
	}
	return 0, err
}
