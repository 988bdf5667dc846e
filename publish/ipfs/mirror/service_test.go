package mirror

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs/ipfstest"
	"github.com/qsync/qsync/scripts/ipfscluster"
	"github.com/qsync/qsync/scripts/kubo"
)

// TestService has IPFS Cluster fetch versions by bitswap from a Kubo that stands for
// the agent's node.
func TestService(t *testing.T) {
	swarm := kubo.NewSwarm()
	agent, theirs := swarm.Start(t, kubo.Options{}), swarm.Start(t, kubo.Options{})
	service := ipfscluster.Start(t, theirs)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(service.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := ipfstest.NewMemory()
	toAgent := openKubo(t, m, KuboOptions{URL: agent.API})
	s := NewService(ServiceOptions{
		Name: "cluster", URL: service.URL, TokenFile: token, Trees: Trees, Publisher: publisher, StateDir: t.TempDir(),
		Origins: func() []string { return []string{agent.Address} },
	})
	one := Version{Channel: channel, Version: "20261121-040002", Raw: full(t, m, "one", 0), Zstd: m.File([]byte("objects")).CID}
	two := Version{Channel: channel, Version: "20261122-040003", Raw: full(t, m, "two", 2), Zstd: one.Zstd}
	for _, v := range []Version{one, two, one} { // the first is looked at again
		if err := toAgent.Mirror(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		if err := s.Mirror(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		if _, pinned := theirs.Pins(t)[v.Raw.String()]; !pinned {
			t.Errorf("%s is not pinned", v.Raw)
		}
	}
	if got := theirs.Cat(t, two.Raw.String()+"/full/large"); !bytes.Equal(got, ipfstest.Stream("large", 2*unixfs.LeafSize+9)) {
		t.Errorf("a file of %d bytes is another one", len(got))
	}
	checkStatus(t, s, "20261121-040002 raw pinned", "20261121-040002 zstd pinned", "20261122-040003 raw pinned", "20261122-040003 zstd pinned")
	if err := s.Forget(t.Context(), channel, []Version{two}); err != nil {
		t.Fatal(err)
	}
	checkStatus(t, s, "20261122-040003 raw pinned", "20261122-040003 zstd pinned")
	waitUntil(t, func() bool {
		pins := theirs.Pins(t)
		_, first := pins[one.Raw.String()]
		_, second := pins[two.Raw.String()]
		_, shared := pins[two.Zstd.String()]
		return !first && second && shared
	})
}

// full is files without an empty one: Kubo 0.43, which stands for the agent's node here,
// never sends the block of that by bitswap.
func full(t *testing.T, m *ipfstest.Memory, edition string, changed int) unixfs.CID {
	t.Helper()
	return m.Tree(t, []string{"full/large", "table/0.sst", "table/1.sst", "table/2.sst"}, func(p string) []byte {
		switch {
		case p == "full/large":
			return ipfstest.Stream("large", 2*unixfs.LeafSize+9)
		case p < fmt.Sprintf("table/%d", changed):
			return ipfstest.Stream(edition+p, 3<<10)
		}
		return ipfstest.Stream(p, 3<<10)
	})
}

// waitUntil waits for what happens in another process.
func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !done() {
		if sleep(ctx, 50*time.Millisecond) != nil {
			t.Fatal("it has not happened within a minute")
		}
	}
}
