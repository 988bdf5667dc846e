package snapshot_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/chain/chaintest"
)

// gethFlags make geth keep all states in its database. By default the newest
// lie in a file beside it, and a copy of the database goes back to an older block.
var gethFlags = []string{"--gcmode", "archive", "--state.scheme", "hash"}

// gethNode stops geth cleanly and starts it again on the same directory: what
// it holds in memory would not be in a snapshot of a frozen one.
type gethNode struct {
	t    *testing.T
	geth *chaintest.Geth // nil while it is stopped
	dir  string
	last string // the newest block when it was stopped
}

func (n *gethNode) String() string { return "geth" }

func (n *gethNode) Quiesce(context.Context) error {
	n.last = newest(n.t, n.geth)
	n.geth.Stop(n.t)
	n.geth = nil
	return nil
}

func (n *gethNode) Resume(context.Context) error {
	if n.geth == nil {
		n.geth = chaintest.StartGeth(n.t, n.dir, gethFlags...)
	}
	return nil
}

// TestGeth takes a snapshot of a real node, restores it, and lets the node's own
// program say which block the copy has.
func TestGeth(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts real nodes")
	}
	const height = 5
	node := &gethNode{t: t, dir: t.TempDir()}
	must(t, node.Resume(t.Context()))
	node.geth.Mine(t, height)

	sink := &memory{}
	o := options(t, node.geth.Database, sink, node)
	o.Kind, o.Forker = kind(t, "pebble"), forker(t, "auto")
	result, err := snapshot.Run(t.Context(), o)
	must(t, err)
	t.Logf("held for %s", result.Pause)
	node.geth.Mine(t, 2) // it goes on

	restored := t.TempDir()
	sink.restore(t, result.Index, filepath.Join(restored, "geth", "chaindata"))
	copied := chaintest.StartGeth(t, restored, gethFlags...)
	if got := newest(t, copied); got != node.last || copied.Height(t) < height {
		t.Errorf("the copy's newest block is %s, the node's was %s", got, node.last)
	}
	copied.Mine(t, 1)
}

// newest is the hash of the newest block.
func newest(t *testing.T, g *chaintest.Geth) string {
	t.Helper()
	var block struct {
		Hash string `json:"hash"`
	}
	chaintest.Call(t, g.URL, &block, "eth_getBlockByNumber", "latest", false)
	return block.Hash
}
