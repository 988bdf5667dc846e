package agent

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs"
)

// oneBlock is Blocks with one block.
type oneBlock []byte

func (b oneBlock) cid() unixfs.CID {
	return unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Digest(sha256.Sum256(b))}
}

func (b oneBlock) Get(_ context.Context, c unixfs.CID) ([]byte, error) {
	if c != b.cid() {
		return nil, ipfs.ErrNotFound
	}
	return b, nil
}

func (b oneBlock) Size(ctx context.Context, c unixfs.CID) (int, error) {
	body, err := b.Get(ctx, c)
	return len(body), err
}

// TestAnnounce: what has been announced before a node is started is known to it, and to
// the one after it; what is of a channel that is gone is forgotten.
func TestAnnounce(t *testing.T) {
	dir, block := t.TempDir(), oneBlock("the head")
	cfg := &config.Agent{
		State:   dir,
		Targets: []config.Target{{Dir: &config.DirTarget{Path: filepath.Join(dir, "out")}}},
		IPFS: &config.IPFS{
			Swarm: []string{"/ip4/127.0.0.1/tcp/0"}, DHT: config.DHTOff, Gateway: "127.0.0.1:0", Identity: filepath.Join(dir, "ipfs.key"),
		},
		Channels: []config.Channel{{Name: "demo-files"}, {Name: "demo-other"}},
	}
	n := newIPFSNode(func(*config.Agent) (ipfs.Blocks, error) { return block, nil }, slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(n.close)
	for _, channel := range cfg.ChannelNames() {
		must(t, n.announce(t.Context(), ipfs.Announcement{Channel: channel, Site: block.cid()}))
	}
	served := func(channel string) string {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.node == nil {
			return ""
		}
		name, err := n.node.Name(channel)
		must(t, err)
		resp, err := http.Get("http://" + n.node.Gateway() + "/ipns/" + name)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		return string(body)
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	n.configure(cfg)
	wait("the names are not served", func() bool { return served("demo-files") == string(block) && served("demo-other") == string(block) })

	other := *cfg
	other.Channels = cfg.Channels[:1]
	n.configure(&other)
	wait("the name of a channel that is gone is served", func() bool { return served("demo-other") != string(block) })

	again := other
	moved := *cfg.IPFS
	moved.DHT, again.IPFS = config.DHTClient, &moved
	moved.Bootstrap = []string{}
	node := func() *ipfs.Node {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.node
	}
	before := node()
	n.configure(&again)
	wait("no other node is started", func() bool { now := node(); return now != nil && now != before })
	if served("demo-files") != string(block) {
		t.Error("the name is not served by the other node")
	}
	if served("demo-other") == string(block) {
		t.Error("the name of a channel that is gone is served again")
	}
}
