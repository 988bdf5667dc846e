package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qsync/qsync/manifest"
)

// Health is what a node says about itself.
type Health struct {
	Node    manifest.Node
	Chain   string // as the node calls it
	Genesis string // hash of block 0: 0x and 64 lower-case hex digits

	Syncing bool
	Peers   int64
	// Alone says that it is meant to have no peers: the chain is a developer's.
	Alone bool
	// Validator says that it signs blocks. EVM nodes never say so: there it is
	// another program that does.
	Validator bool

	Best    int64         // number of its newest block
	BestAge time.Duration // since that block by this machine's clock; 0 if it does not say
	Highest int64         // the highest block that it has heard of; 0 if it does not say
	// Block is the newest finalized block. Where the node does not know any, it is
	// a newer one, and says that it is not finalized.
	Block manifest.Block

	// Pruned is what the node says when it is asked for the state of block 1. An
	// archive has it: then this is empty.
	Pruned string

	// Still is for how long Block has stayed the same. It is not the node that
	// says so but a [Watch], so Look leaves it 0.
	Still time.Duration
}

// dialect is how to ask the nodes that speak a protocol.
type dialect interface {
	look(ctx context.Context) (Health, error)
	block(ctx context.Context) (manifest.Block, error)
	// hashAt is the hash of the block at a height. The error is errNull, or a
	// refusal, if the node has not got one.
	hashAt(ctx context.Context, height int64) (string, error)
	// state is nil if the node has the state of the block of that number, and a
	// refusal or errNull if it does not.
	state(ctx context.Context, height int64) error
}

// Look asks the node for all that there is to know. Of its errors only those that
// wrap ErrWrongNode stay; after any other one the node may answer a moment later.
func (c *Client) Look(ctx context.Context) (Health, error) {
	d, err := c.dialect(ctx)
	if err != nil {
		return Health{}, err
	}
	h, err := d.look(ctx)
	if isMissing(err) {
		return Health{}, fmt.Errorf("%w: %w", ErrWrongNode, err)
	}
	if err != nil {
		return Health{}, err
	}
	if h.Block, err = d.block(ctx); err != nil {
		return Health{}, err
	}
	// A chain that has but its genesis is its own archive.
	if h.Best > 0 {
		h.Pruned, err = pruned(d.state(ctx, 1))
	}
	return h, err
}

// pruned takes apart why a node did not answer for an old block.
func pruned(err error) (string, error) {
	r := (*refusal)(nil)
	switch {
	case errors.As(err, &r):
		return r.Error(), nil
	case errors.Is(err, errNull):
		return "the node does not have it", nil
	}
	return "", err
}

// Block is the newest finalized block, or a newer one that says that it is not.
func (c *Client) Block(ctx context.Context) (manifest.Block, error) {
	d, err := c.dialect(ctx)
	if err != nil {
		return manifest.Block{}, err
	}
	return d.block(ctx)
}

// dialect asks the node which it speaks if the preset does not say. Substrate
// nodes can speak the other one too, so that comes first.
func (c *Client) dialect(ctx context.Context) (dialect, error) {
	switch c.Protocol {
	case Substrate:
		return substrate{c}, nil
	case EVM:
		return evm{c}, nil
	case "":
	default:
		return nil, fmt.Errorf("protocol %q is not known", string(c.Protocol))
	}
	var health struct{}
	err := c.call(ctx, &health, "system_health")
	if err == nil {
		return substrate{c}, nil
	}
	if !isRefusal(err) {
		return nil, err
	}
	var version text
	other := c.call(ctx, &version, "web3_clientVersion")
	if isMissing(err) && isMissing(other) {
		return nil, fmt.Errorf("%w: it speaks neither of the known protocols: %w; %w", ErrWrongNode, err, other)
	}
	return evm{c}, other
}
