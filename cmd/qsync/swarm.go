package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/secret"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/fetcher/source/ipfs"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// network is the network of IPFS, which is joined when it is first needed.
type network struct {
	conf config.OperatorIPFS

	mu     sync.Mutex
	joined *ipfs.Network
}

func (n *network) join() (*ipfs.Network, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.joined != nil {
		return n.joined, nil
	}
	o := ipfs.NetworkOptions{Bootstrap: n.conf.Bootstrap}
	if n.conf.SwarmKey != "" {
		var err error
		if o.SwarmKey, err = secret.Read(n.conf.SwarmKey); err != nil {
			return nil, fmt.Errorf("read the key of the private network: %w", err)
		}
	}
	var err error
	if n.joined, err = ipfs.Join(o); err == nil {
		term.AllowMemory(peersMemory)
	}
	return n.joined, err
}

// peersMemory is what connections to peers keep in use: blocks that arrive, and windows of
// streams. Below it the collector would run all the time.
const peersMemory = 96 << 20 // bytes

// close leaves the network. What could go wrong concerns nobody any more.
func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.joined != nil {
		_ = n.joined.Close()
		n.joined = nil
	}
}

// swarm is who of IPFS may have the snapshots of a publisher.
type swarm struct {
	*network
	gateways []*source.Gateway
	blocks   []ipfs.Blocks // of the gateways and of peers
}

func newSwarm(n *network, peers, gateways []string) (*swarm, error) {
	s := &swarm{network: n}
	for _, u := range unique(gateways) {
		g, err := source.OpenGateway(u)
		if err != nil {
			return nil, &term.UsageError{Err: err}
		}
		s.gateways, s.blocks = append(s.gateways, g), append(s.blocks, g)
	}
	for _, address := range unique(peers) {
		if err := ipfs.CheckPeer(address); err != nil {
			return nil, term.WithHint(&term.UsageError{Err: err}, "write it like /dns4/mirror.example.org/tcp/4001/p2p/12D3KooW…")
		}
		joined, err := n.join()
		if err != nil {
			return nil, err
		}
		p, err := joined.Peer(address)
		if err != nil {
			return nil, err
		}
		s.blocks = append(s.blocks, p)
	}
	return s, nil
}

// unique leaves out what was there before.
func unique(all []string) (kept []string) {
	for _, s := range all {
		if !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	return kept
}

// The kinds of sources.
const (
	kindHTTP = "http"
	kindS3   = "s3"
	kindIPFS = "ipfs"
	kindDir  = "dir"
)

// kindOf is the kind of the source at a URL.
func kindOf(rawURL string) string {
	scheme, _, is := strings.Cut(rawURL, "://")
	switch {
	case !is || scheme == "file":
		return kindDir
	case scheme == "https":
		return kindHTTP
	case scheme == "ipns":
		return kindIPFS
	}
	return scheme
}

func isSite(rawURL string) bool { return kindOf(rawURL) == kindIPFS }

func checkOnly(only []string) error {
	for _, kind := range only {
		if !slices.Contains([]string{kindHTTP, kindS3, kindIPFS, kindDir}, kind) {
			return term.Usagef("--only %q: want http, s3, ipfs or dir", kind)
		}
	}
	return nil
}

// site is the source for ipfs://CID or ipns://NAME: all that the publisher has, got
// from whoever has it.
func (s *swarm) site(rawURL string) (fetcher.Source, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("source %.200q: want ipfs://CID or ipns://NAME, and nothing behind it", rawURL)
	}
	var site ipfs.Site
	if u.Scheme == "ipfs" {
		root, err := unixfs.ParseCID(u.Host)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", rawURL, err)
		}
		site = ipfs.At(root)
	} else {
		names := &ipfs.Names{Network: s.join}
		for _, g := range s.gateways {
			names.Records = append(names.Records, g)
		}
		site = ipfs.Named(names, u.Host)
	}
	blocks := ipfs.Several(s.blocks...)
	if len(s.blocks) == 0 {
		blocks = ipfs.Found(s.join, site)
	}
	return ipfs.NewSite(rawURL, blocks, site), nil
}

// maxProviders is how many of those that the DHT names are asked.
const maxProviders = 8

var errNoTrees = errors.New("its manifest names no trees on IPFS that could be looked for")

// providers looks for those who have a snapshot.
func (s *swarm) providers(ctx context.Context, m *manifest.Manifest) (all []fetcher.Source, err error) {
	if m.IPFS == nil {
		return nil, fmt.Errorf("%w: %w", fetcher.ErrNoSource, errNoTrees)
	}
	n, err := s.join()
	if err != nil {
		return nil, err
	}
	var roots []unixfs.CID
	for _, text := range []string{m.IPFS.Zstd, m.IPFS.Raw} {
		root, err := unixfs.ParseCID(text)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	peers, err := n.Providers(ctx, maxProviders, roots...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fetcher.ErrNoSource, err)
	}
	for _, p := range peers {
		all = append(all, ipfs.NewSource(p))
	}
	return all, nil
}
