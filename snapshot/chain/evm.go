package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/qsync/qsync/manifest"
)

// evm asks the nodes of Ethereum and what descends from it.
type evm struct{ *Client }

// developerChains are the chain ids of networks of one node: geth --dev, and
// what Hardhat and Foundry start. Their nodes have no peers and make blocks on demand.
var developerChains = []number{1337, 31337}

// evmBlock is what matters of a block here.
type evmBlock struct {
	Number    *number `json:"number"`
	Hash      hash    `json:"hash"`
	Timestamp number  `json:"timestamp"` // seconds since 1970
}

func (e evm) look(ctx context.Context) (h Health, err error) {
	if h.Syncing, h.Highest, err = e.syncing(ctx); err != nil {
		return h, err
	}
	var peers, id number
	if err := e.call(ctx, &peers, "net_peerCount"); err != nil {
		return h, err
	}
	if err := e.call(ctx, &id, "eth_chainId"); err != nil {
		return h, err
	}
	h.Peers = int64(peers)
	h.Chain = fmt.Sprintf("chain id %d", id)
	h.Alone = slices.Contains(developerChains, id)

	var version text
	if err := e.call(ctx, &version, "web3_clientVersion"); err != nil {
		return h, err
	}
	h.Node.Implementation, h.Node.Version, _ = strings.Cut(string(version), "/")

	genesis, err := e.blockAt(ctx, "0x0")
	if err != nil {
		return h, err
	}
	h.Genesis = string(genesis.Hash)
	best, err := e.blockAt(ctx, "latest")
	if err != nil {
		return h, err
	}
	h.Best = int64(*best.Number)
	if best.Timestamp > 0 {
		h.BestAge = max(0, time.Since(time.Unix(int64(best.Timestamp), 0)))
	}
	return h, nil
}

// syncing is whether the node fetches blocks, and the highest that it has heard
// of, or 0.
func (e evm) syncing(ctx context.Context) (bool, int64, error) {
	var answer json.RawMessage
	if err := e.call(ctx, &answer, "eth_syncing"); err != nil {
		return false, 0, err
	}
	if string(answer) == "false" {
		return false, 0, nil
	}
	var progress struct {
		Current number `json:"currentBlock"`
		Highest number `json:"highestBlock"`
		// Work that geth also calls syncing: it has all blocks, and makes them
		// quicker to search. That can take days, and some of it never ends on an idle chain.
		Transactions number `json:"txIndexRemainingBlocks"`
		States       number `json:"stateIndexRemaining"`
		TrieNodes    number `json:"trienodeIndexRemaining"`
	}
	if err := json.Unmarshal(answer, &progress); err != nil {
		return false, 0, e.failed("eth_syncing", fmt.Errorf("%w: %w", errForm, err))
	}
	indexing := progress.Transactions > 0 || progress.States > 0 || progress.TrieNodes > 0
	onlyIndexing := indexing && progress.Current > 0 && progress.Current >= progress.Highest
	return !onlyIndexing, int64(progress.Highest), nil
}

// block prefers what can never be undone. Before the first such block, and on
// chains without finality, nodes answer with null or an error.
func (e evm) block(ctx context.Context) (manifest.Block, error) {
	for _, tag := range []string{"finalized", "safe"} {
		b, err := e.blockAt(ctx, tag)
		if err == nil {
			return manifest.Block{Number: int64(*b.Number), Hash: string(b.Hash), Finalized: tag == "finalized"}, nil
		}
		if !isRefusal(err) && !errors.Is(err, errNull) {
			return manifest.Block{}, err
		}
	}
	b, err := e.blockAt(ctx, "latest")
	if err != nil {
		return manifest.Block{}, err
	}
	return manifest.Block{Number: int64(*b.Number), Hash: string(b.Hash)}, nil
}

func (e evm) hashAt(ctx context.Context, height int64) (string, error) {
	b, err := e.blockAt(ctx, fmt.Sprintf("%#x", height))
	if err == nil && int64(*b.Number) != height {
		err = e.failed("block "+fmt.Sprint(height), fmt.Errorf("it answers with block %d", *b.Number))
	}
	return string(b.Hash), err
}

// blockAt is the block that a tag or a hex number stands for.
func (e evm) blockAt(ctx context.Context, tag string) (b evmBlock, err error) {
	const method = "eth_getBlockByNumber"
	if err := e.call(ctx, &b, method, tag, false); err != nil {
		return b, err
	}
	if b.Number == nil || b.Hash == "" {
		return b, e.failed(method, errIncomplete)
	}
	return b, nil
}

// zeroAddress exists on every chain: anything that is burnt goes there.
const zeroAddress = "0x0000000000000000000000000000000000000000"

func (e evm) state(ctx context.Context, height int64) error {
	var balance string // of more digits than a number may have
	return e.call(ctx, &balance, "eth_getBalance", zeroAddress, fmt.Sprintf("%#x", height))
}
