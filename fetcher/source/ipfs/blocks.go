// Package ipfs reads published trees by content address, from peers that speak
// bitswap and from gateways. Everything of IPFS's libraries stays behind it.
package ipfs

import (
	"context"
	"fmt"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// Blocks is somebody who has blocks: a peer or a gateway. Its methods are safe for
// concurrent use.
type Blocks interface {
	// Get returns a block. Nobody has checked it. Its errors are those of a
	// [fetcher.Source].
	Get(ctx context.Context, c unixfs.CID) ([]byte, error)
	// String names it for people.
	String() string
}

// nothing is the digest of the block that an empty file is. Not all nodes send it.
var nothing = manifest.Sum(nil)

// checked gets a block whose digest is right.
func checked(ctx context.Context, b Blocks, c unixfs.CID) ([]byte, error) {
	if c.Digest == nothing {
		return nil, nil
	}
	block, err := b.Get(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", c, err)
	}
	if got := manifest.Sum(block); got != c.Digest {
		return nil, backoff.Permanent(fmt.Errorf("block %s: the digest of what came is %s", c, got))
	}
	return block, nil
}
