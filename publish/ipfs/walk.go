package ipfs

import (
	"context"
	"fmt"

	"github.com/qsync/qsync/manifest/unixfs"
)

// Walk calls visit for the blocks of the trees under roots, each once: depth first,
// a node before what it links to, links in their order. A leaf is not read: its block
// is nil. An error of visit ends it.
//
// It remembers 16 bytes of the digest of each block that it has met: of a terabyte,
// some 40 MB.
func Walk(ctx context.Context, blocks Blocks, roots []unixfs.CID, visit func(c unixfs.CID, block []byte) error) error {
	return walkUpTo(ctx, blocks, roots, func(unixfs.CID) bool { return false }, visit)
}

// walkUpTo is Walk without the trees that are left out.
func walkUpTo(ctx context.Context, blocks Blocks, roots []unixfs.CID, leftOut func(c unixfs.CID) bool, visit func(c unixfs.CID, block []byte) error) error {
	w := &walk{ctx: ctx, blocks: blocks, leftOut: leftOut, visit: visit, leaves: map[seen]struct{}{}, nodes: map[seen]struct{}{}}
	for _, root := range roots {
		if err := w.tree(root); err != nil {
			return err
		}
	}
	return nil
}

type walk struct {
	ctx     context.Context
	blocks  Blocks
	leftOut func(c unixfs.CID) bool
	visit   func(c unixfs.CID, block []byte) error
	// What was met. The bytes of a node can be a leaf of some file too.
	leaves, nodes map[seen]struct{}
}

// seen is enough of a digest to tell blocks apart.
type seen [16]byte

func (w *walk) tree(c unixfs.CID) error {
	met := w.nodes
	if c.Codec == unixfs.Raw {
		met = w.leaves
	}
	key := seen(c.Digest[:16])
	if _, again := met[key]; again || w.leftOut(c) {
		return nil
	}
	met[key] = struct{}{}
	if c.Codec == unixfs.Raw {
		return w.visit(c, nil)
	}
	block, err := w.blocks.Get(w.ctx, c)
	if err != nil {
		return fmt.Errorf("read block %s: %w", c, err)
	}
	links, err := Links(c, block)
	if err != nil {
		return err
	}
	if err := w.visit(c, block); err != nil {
		return err
	}
	for i := range links {
		if err := w.tree(links[i].CID); err != nil {
			return err
		}
	}
	return nil
}

// Links are what a block links to, in its order, without the sizes of files. A leaf
// links to nothing.
func Links(c unixfs.CID, block []byte) ([]unixfs.Entry, error) {
	if c.Codec == unixfs.Raw {
		return nil, nil
	}
	links, _, err := unixfs.ParseNode(block)
	if err != nil {
		return nil, fmt.Errorf("parse block %s: %w", c, err)
	}
	return links, nil
}
