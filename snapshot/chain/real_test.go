package chain_test

import (
	"errors"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot/chain"
	"github.com/qsync/qsync/snapshot/chain/chaintest"
)

func look(t *testing.T, c *chain.Client) chain.Health {
	t.Helper()
	h, err := c.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestChopsticks(t *testing.T) {
	node := chaintest.StartChopsticks(t)
	node.Mine(t, 4)
	client := chain.Client{URL: node.URL}
	h := look(t, &client)
	want := chain.Requirements{Genesis: chaintest.ChopsticksGenesis, Archive: true, MaxLag: 20, MinHeight: 5, Stuck: time.Minute}
	if err := h.Check(want); err != nil {
		t.Error(err)
	}
	if h.Best != 5 || h.Block.Number != 5 || !h.Block.Finalized || !h.Alone || h.Node.Version != "chopsticks-v1" {
		t.Errorf("%+v", h)
	}
	kusama, err := chain.Lookup("kusama")
	if err != nil {
		t.Fatal(err)
	}
	want.Genesis, want.MinHeight = kusama.Genesis, 6
	if err := h.Check(want); !errors.Is(err, chain.ErrWrongNode) || !errors.Is(err, chain.ErrUnhealthy) {
		t.Errorf("asked for a higher Kusama: %v", err)
	}

	before := h.Block
	node.Mine(t, 1)
	if after, err := client.Block(t.Context()); err != nil || after.Number != before.Number+1 || after.Hash == before.Hash {
		t.Errorf("one block after %+v: %+v, %v", before, after, err)
	}
	asked := chain.Client{URL: node.URL, Protocol: chain.EVM}
	if _, err := asked.Look(t.Context()); !errors.Is(err, chain.ErrWrongNode) {
		t.Errorf("asked as an EVM node: %v", err)
	}
}

func TestGeth(t *testing.T) {
	node := chaintest.StartGeth(t, t.TempDir(), "--gcmode", "archive")
	client := chain.Client{URL: node.URL}
	if h := look(t, &client); h.Best != 0 || h.Block.Number != 0 || h.Pruned != "" {
		t.Errorf("at its genesis: %+v", h)
	}
	node.Mine(t, 3)
	h := look(t, &client)
	if err := h.Check(chain.Requirements{Genesis: h.Genesis, Archive: true, MaxLag: 20, Stuck: time.Minute}); err != nil {
		t.Error(err)
	}
	// Now and then it makes a block that nobody has asked for.
	if h.Best < 3 || !h.Alone || h.Node.Implementation != "Geth" || h.BestAge > time.Hour {
		t.Errorf("%+v", h)
	}
	ethereum, err := chain.Lookup("ethereum")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Check(chain.Requirements{Genesis: ethereum.Genesis}); !errors.Is(err, chain.ErrWrongNode) {
		t.Errorf("asked for Ethereum: %v", err)
	}
	asked := chain.Client{URL: node.URL, Protocol: chain.Substrate}
	if _, err := asked.Look(t.Context()); !errors.Is(err, chain.ErrWrongNode) {
		t.Errorf("asked as a Substrate node: %v", err)
	}

	// Stopped cleanly, it goes on from where it was.
	node.Stop(t)
	if _, err := client.Look(t.Context()); err == nil {
		t.Error("a node that has ended answered")
	}
	again := chain.Client{URL: chaintest.StartGeth(t, node.DataDir, "--gcmode", "archive").URL}
	if now := look(t, &again); now.Best < h.Best || now.Genesis != h.Genesis {
		t.Errorf("started again: %+v", now)
	}
}

// geth keeps the states of some 128 blocks unless it is told to be an archive.
func TestGethIsNoArchive(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes more blocks than geth keeps the states of")
	}
	node := chaintest.StartGeth(t, t.TempDir())
	node.Mine(t, 132)
	client := chain.Client{URL: node.URL, Protocol: chain.EVM}
	h := look(t, &client)
	if err := h.Check(chain.Requirements{Genesis: h.Genesis}); err != nil {
		t.Error(err)
	}
	if err := h.Check(chain.Requirements{Genesis: h.Genesis, Archive: true}); !errors.Is(err, chain.ErrWrongNode) {
		t.Errorf("%v: %+v", err, h)
	}
}
