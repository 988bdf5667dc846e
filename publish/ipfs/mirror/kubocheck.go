package mirror

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs"
)

// defaultSamples is how many leaves are read back.
const defaultSamples = 8

// check reads blocks back, all those on the way from the root to some leaves.
func (k *Kubo) check(ctx context.Context, api *rpc, root unixfs.CID) error {
	for range k.samples {
		for c := root; ; {
			if err := api.checkBlock(ctx, c); err != nil {
				return err
			}
			if c.Codec == unixfs.Raw {
				break
			}
			block, err := k.blocks.Get(ctx, c)
			if err != nil {
				return fmt.Errorf("read block %s: %w", c, err)
			}
			links, err := ipfs.Links(c, block)
			if err != nil {
				return err
			}
			if len(links) == 0 {
				break
			}
			c = links[rand.IntN(len(links))].CID
		}
	}
	return nil
}

// checkBlock compares a block with its digest.
func (r *rpc) checkBlock(ctx context.Context, c unixfs.CID) error {
	block, err := r.block(ctx, c)
	if err == nil && manifest.Sum(block) != c.Digest {
		err = &adviceError{fmt.Errorf("Kubo has another block of %d bytes as %s", len(block), c),
			"ipfs repo verify says which blocks are broken; remove them (ipfs block rm), and they are sent again"}
	}
	return err
}
