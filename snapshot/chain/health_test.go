package chain_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/snapshot/chain"
)

func TestLookSubstrate(t *testing.T) {
	well := chain.Health{
		Node:  manifest.Node{Implementation: "Parity Polkadot", Version: "1.20.0-c2a39c7c3fd"},
		Chain: "Polkadot", Genesis: genesisA, Peers: 40, Best: 1000, Highest: 1003,
		Block: manifest.Block{Number: 998, Hash: finalizedHash, Finalized: true},
	}
	for _, test := range []struct {
		name    string
		changes double
		want    func(*chain.Health)
	}{
		{"well", nil, func(*chain.Health) {}},
		{"capitalised names", double{"system_health": `{"Peers": 3, "IsSyncing": true, "ShouldHavePeers": false}`},
			func(h *chain.Health) { h.Peers, h.Syncing, h.Alone = 3, true, true }},
		{"a health that says nothing", double{"system_health": `{}`},
			func(h *chain.Health) { h.Peers, h.Syncing = 0, true }},
		{"a validator", double{"system_nodeRoles": `["Authority"]`}, func(h *chain.Health) { h.Validator = true }},
		{"no sync state", double{"system_syncState": ""}, func(h *chain.Health) { h.Highest = 0 }},
		{"no sync state, said without a code", double{"system_syncState": `error {"message": "Method not found: system_syncState"}`},
			func(h *chain.Health) { h.Highest = 0 }},
		{"highest not heard of", double{"system_syncState": `{"startingBlock": 5, "currentBlock": 1000, "highestBlock": null}`},
			func(h *chain.Health) { h.Highest = 0 }},
		{"state discarded", double{"state_getRuntimeVersion": `error {"code": 4003, "message": "Client error: Api called for an unknown Block: State already discarded for 0xdddd"}`},
			func(h *chain.Health) {
				h.Pruned = `the node says "Client error: Api called for an unknown Block: State already discarded for 0xdddd" (code 4003)`
			}},
		{"blocks discarded", double{"chain_getBlockHash 1": `null`}, func(h *chain.Health) { h.Pruned = "the node does not have it" }},
		{"genesis only", double{"chain_getHeader": `{"number": "0x0"}`, "chain_getBlockHash 1": `null`}, func(h *chain.Health) { h.Best = 0 }},
		{"zeros in front", double{"chain_getHeader": `{"number": "0x000003e8"}`}, func(*chain.Health) {}},
		{"capital digits", double{"chain_getBlockHash 0": `"0x` + strings.Repeat("A", 64) + `"`}, func(*chain.Health) {}},
		{"a version that a manifest must not have", double{"system_version": `"v1\u001b[31m ☠` + strings.Repeat("x", 300) + `"`},
			func(h *chain.Health) { h.Node.Version = "v1?[31m ?" + strings.Repeat("x", 247) }},
	} {
		for _, protocol := range []chain.Protocol{chain.Substrate, ""} {
			t.Run(test.name+" "+string(protocol), func(t *testing.T) {
				client := chain.Client{URL: substrateNode.with(test.changes).start(t), Protocol: protocol}
				got, err := client.Look(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				want := well
				test.want(&want)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestLookEVM(t *testing.T) {
	well := chain.Health{
		Node:  manifest.Node{Implementation: "Geth", Version: "v1.17.5-stable/linux-amd64/go1.26.8"},
		Chain: "chain id 1", Genesis: genesisA, Peers: 50, Best: 1000,
		Block: manifest.Block{Number: 928, Hash: finalizedHash, Finalized: true},
	}
	notFound := `error {"code": -39001, "message": "Unknown block"}`
	for _, test := range []struct {
		name    string
		changes double
		want    func(*chain.Health)
	}{
		{"well", nil, func(*chain.Health) {}},
		{"syncing", double{"eth_syncing": `{"currentBlock": "0x3e8", "highestBlock": "0x1388"}`},
			func(h *chain.Health) { h.Syncing, h.Highest = true, 5000 }},
		{"indexing", double{"eth_syncing": `{"currentBlock": "0x3e8", "highestBlock": "0x0", "txIndexRemainingBlocks": "0x2", "stateIndexRemaining": "0x0"}`},
			func(*chain.Health) {}},
		{"indexing and syncing", double{"eth_syncing": `{"currentBlock": "0x3e8", "highestBlock": "0x1388", "stateIndexRemaining": "0x2"}`},
			func(h *chain.Health) { h.Syncing, h.Highest = true, 5000 }},
		{"all blocks to come", double{"eth_syncing": `{"currentBlock": "0x0", "highestBlock": "0x0", "txIndexRemainingBlocks": "0x1"}`},
			func(h *chain.Health) { h.Syncing = true }},
		{"no finalized block", double{"eth_getBlockByNumber finalized": `null`},
			func(h *chain.Health) { h.Block = manifest.Block{Number: 960, Hash: firstHash} }},
		{"no finality", double{"eth_getBlockByNumber finalized": notFound, "eth_getBlockByNumber safe": notFound},
			func(h *chain.Health) { h.Block = manifest.Block{Number: 1000, Hash: firstHash} }},
		{"a developer's chain", double{"eth_chainId": `"0x539"`, "net_peerCount": `"0x0"`},
			func(h *chain.Health) { h.Chain, h.Peers, h.Alone = "chain id 1337", 0, true }},
		{"another chain without peers", double{"eth_chainId": `"0x38"`, "net_peerCount": `"0x0"`},
			func(h *chain.Health) { h.Chain, h.Peers = "chain id 56", 0 }},
	} {
		for _, protocol := range []chain.Protocol{chain.EVM, ""} {
			t.Run(test.name+" "+string(protocol), func(t *testing.T) {
				client := chain.Client{URL: evmNode.with(test.changes).start(t), Protocol: protocol}
				got, err := client.Look(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				age := time.Since(time.Unix(0x6553f100, 0))
				if d := age - got.BestAge; d < 0 || d > time.Minute {
					t.Errorf("the newest block is %s old, want %s", got.BestAge, age)
				}
				want := well
				test.want(&want)
				want.BestAge = got.BestAge
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// What a node must say, it must not leave out: a check that could not be made has
// not been passed.
func TestLookWantsAll(t *testing.T) {
	for protocol, test := range map[chain.Protocol]struct {
		well    double
		methods []string
	}{
		chain.Substrate: {substrateNode, []string{
			"system_health", "system_nodeRoles", "chain_getBlockHash 0", "chain_getFinalizedHead", "chain_getHeader " + finalizedHash,
		}},
		chain.EVM: {evmNode, []string{
			"eth_syncing", "net_peerCount", "eth_chainId", "eth_getBlockByNumber 0x0", "eth_getBlockByNumber latest",
		}},
	} {
		for _, method := range test.methods {
			for _, answer := range []string{"null", `{"number": null}`, `error {"code": -32000, "message": "no"}`} {
				if (method == "system_health" || method == "eth_syncing") && answer[0] == '{' {
					continue // an object that says nothing means a node that is not well
				}
				client := chain.Client{URL: test.well.with(double{method: answer}).start(t), Protocol: protocol}
				asked, _, _ := strings.Cut(method, " ")
				if h, err := client.Look(t.Context()); err == nil || !strings.Contains(err.Error(), asked) {
					t.Errorf("%s answered with %s: %+v, %v", method, answer, h, err)
				}
			}
		}
	}
}

func TestBlock(t *testing.T) {
	client := chain.Client{URL: substrateNode.start(t)}
	got, err := client.Block(t.Context())
	if want := (manifest.Block{Number: 998, Hash: finalizedHash, Finalized: true}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestNeitherProtocol(t *testing.T) {
	client := chain.Client{URL: double{}.start(t)}
	if _, err := client.Look(t.Context()); !errors.Is(err, chain.ErrWrongNode) {
		t.Error(err)
	}
	busy := `error {"code": -32000, "message": "busy"}`
	client.URL = double{"system_health": busy, "web3_clientVersion": busy}.start(t)
	if _, err := client.Look(t.Context()); err == nil || errors.Is(err, chain.ErrWrongNode) {
		t.Errorf("a node that is only busy: %v", err)
	}
}
