// Package ipfs serves what was published under content addresses: as a peer that
// speaks bitswap, and as a gateway whose answers can be verified. Nothing is stored
// for it twice: a block is cut out of the published objects when somebody wants it.
//
// Everything of IPFS's libraries stays behind this package.
package ipfs

import (
	"context"
	"errors"

	"github.com/qsync/qsync/manifest/unixfs"
)

// ErrNotFound says that there is no such block.
var ErrNotFound = errors.New("no such block")

// Blocks is what a node serves. Its methods are safe for concurrent use.
type Blocks interface {
	// Get returns a block whose digest has been checked. Error: ErrNotFound; any
	// other says that the block should be there and could not be read, or was not
	// what it should be.
	Get(ctx context.Context, c unixfs.CID) ([]byte, error)
	// Size is the number of bytes of a block, without reading it. Error: ErrNotFound.
	Size(ctx context.Context, c unixfs.CID) (int, error)
}
