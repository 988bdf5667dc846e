package agent

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/ipfs"
	"github.com/qsync/qsync/publish/ipfs/mirror"
)

// mirrorInterval is how often is looked whether a mirror still keeps what it should.
const mirrorInterval = time.Hour

// newMirrors are those of the configuration. Without blocks and a node they can say their
// status, and nothing else.
func newMirrors(a *config.Agent, blocks ipfs.Blocks, node *ipfs.Node) []mirror.Mirror {
	var all []mirror.Mirror
	if a.IPFS == nil {
		return nil
	}
	if k := a.IPFS.Kubo; k != nil {
		all = append(all, mirror.NewKubo(mirror.KuboOptions{
			URL: k.URL, TokenFile: k.TokenFile, Trees: treeNames(k.Trees), Publisher: a.Publisher, StateDir: a.State,
		}, blocks))
	}
	for _, p := range a.IPFS.Pinning {
		o := mirror.ServiceOptions{
			Name: p.Name, URL: p.URL, TokenFile: p.TokenFile, Trees: treeNames(p.Trees), Publisher: a.Publisher, StateDir: a.State,
		}
		if node != nil {
			o.Origins, o.Connect = node.Addrs, node.Connect
		}
		all = append(all, mirror.NewService(o))
	}
	return all
}

func treeNames(names []string) []mirror.Tree {
	trees := make([]mirror.Tree, len(names))
	for i, name := range names {
		trees[i] = mirror.Tree(name)
	}
	return trees
}

// mirroring has one mirror keep what the channels keep, until it is closed.
type mirroring struct {
	mirror mirror.Mirror
	log    *slog.Logger

	mu       sync.Mutex
	versions map[string][]mirror.Version // by channel; the newest first
	changed  chan struct{}
}

func newMirroring(m mirror.Mirror, log *slog.Logger) *mirroring {
	return &mirroring{mirror: m, log: log.With("mirror", m.String()), versions: map[string][]mirror.Version{}, changed: make(chan struct{}, 1)}
}

// want sets what is kept of a channel from now on.
func (m *mirroring) want(channel string, versions []mirror.Version) {
	m.mu.Lock()
	m.versions[channel] = versions
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default: // it will look anyway
	}
}

func (m *mirroring) wanted(channel string) []mirror.Version {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.versions[channel]
}

func (m *mirroring) channels() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for channel := range m.versions {
		names = append(names, channel)
	}
	return names
}

func (m *mirroring) run(ctx context.Context) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 10*time.Second, mirrorInterval
	timer := time.NewTimer(mirrorInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.changed:
		case <-timer.C:
		}
		next := mirrorInterval
		wellKept := true
		for _, channel := range m.channels() {
			if err := m.keep(ctx, channel); err != nil && ctx.Err() == nil {
				wellKept = false
				m.log.Warn("a mirror does not keep what it should", append([]any{"channel", channel}, because(err)...)...)
			}
		}
		if wellKept {
			wait.Reset()
		} else {
			next = wait.NextBackOff()
		}
		timer.Reset(next)
	}
}

// keep mirrors what is wanted of a channel, and drops the rest when that is done.
func (m *mirroring) keep(ctx context.Context, channel string) error {
	versions := m.wanted(channel)
	for _, v := range versions {
		if err := m.mirror.Mirror(ctx, v); err != nil {
			return err
		}
	}
	// Meanwhile there may be something newer.
	return m.mirror.Forget(ctx, channel, append(slices.Clip(versions), m.wanted(channel)...))
}
