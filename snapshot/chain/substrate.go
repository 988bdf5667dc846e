package chain

import (
	"context"
	"slices"

	"github.com/qsync/qsync/manifest"
)

// substrate asks nodes that are built with the Polkadot SDK.
type substrate struct{ *Client }

func (s substrate) look(ctx context.Context) (h Health, err error) {
	// Some hosts capitalise these names. encoding/json does not mind.
	var health struct {
		Peers           number `json:"peers"`
		IsSyncing       *bool  `json:"isSyncing"`
		ShouldHavePeers *bool  `json:"shouldHavePeers"`
	}
	if err := s.call(ctx, &health, "system_health"); err != nil {
		return h, err
	}
	h.Peers = int64(health.Peers)
	// What is not said is not well.
	h.Syncing = health.IsSyncing == nil || *health.IsSyncing
	h.Alone = health.ShouldHavePeers != nil && !*health.ShouldHavePeers

	var roles []string
	if err := s.call(ctx, &roles, "system_nodeRoles"); err != nil {
		return h, err
	}
	h.Validator = slices.Contains(roles, "Authority")

	var implementation, version, name text
	if err := s.call(ctx, &implementation, "system_name"); err != nil {
		return h, err
	}
	if err := s.call(ctx, &version, "system_version"); err != nil {
		return h, err
	}
	if err := s.call(ctx, &name, "system_chain"); err != nil {
		return h, err
	}
	h.Node = manifest.Node{Implementation: string(implementation), Version: string(version)}
	h.Chain = string(name)

	genesis, err := s.blockHash(ctx, 0)
	if err != nil {
		return h, err
	}
	h.Genesis = string(genesis)
	if h.Best, err = s.height(ctx); err != nil {
		return h, err
	}
	h.Highest, err = s.highest(ctx)
	return h, err
}

// highest is the highest block that the node has heard of, or 0: not every one
// says.
func (s substrate) highest(ctx context.Context) (int64, error) {
	var state struct {
		HighestBlock number `json:"highestBlock"`
	}
	if err := s.call(ctx, &state, "system_syncState"); err != nil && !isMissing(err) {
		return 0, err
	}
	return int64(state.HighestBlock), nil
}

func (s substrate) block(ctx context.Context) (manifest.Block, error) {
	var head hash
	if err := s.call(ctx, &head, "chain_getFinalizedHead"); err != nil {
		return manifest.Block{}, err
	}
	height, err := s.height(ctx, head)
	return manifest.Block{Number: height, Hash: string(head), Finalized: true}, err
}

// height is the number of the block at a hash; without one, of the newest block.
func (s substrate) height(ctx context.Context, at ...any) (int64, error) {
	var header struct {
		Number *number `json:"number"`
	}
	if err := s.call(ctx, &header, "chain_getHeader", at...); err != nil {
		return 0, err
	}
	if header.Number == nil {
		return 0, s.failed("chain_getHeader", errIncomplete)
	}
	return int64(*header.Number), nil
}

func (s substrate) blockHash(ctx context.Context, height int64) (h hash, err error) {
	err = s.call(ctx, &h, "chain_getBlockHash", height)
	return h, err
}

func (s substrate) hashAt(ctx context.Context, height int64) (string, error) {
	h, err := s.blockHash(ctx, height)
	return string(h), err
}

func (s substrate) state(ctx context.Context, height int64) error {
	block, err := s.blockHash(ctx, height)
	if err != nil {
		return err
	}
	var version struct{}
	return s.call(ctx, &version, "state_getRuntimeVersion", block)
}
