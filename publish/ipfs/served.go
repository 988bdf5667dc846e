package ipfs

import (
	"context"
	"errors"
	"sync/atomic"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// servedBlocks is Blocks as IPFS's libraries want them: nothing can be put in. The
// digests are not computed again, since Blocks has checked them.
type servedBlocks struct {
	blocks  Blocks
	damaged func(c unixfs.CID, err error)
	count   atomic.Int64 // of damaged
}

// address is the CID as the trees have it, if they can have it at all.
func address(c cid.Cid) (unixfs.CID, bool) {
	if !c.Defined() {
		return unixfs.CID{}, false
	}
	p := c.Prefix()
	codec := unixfs.Codec(p.Codec)
	if p.MhType != mh.SHA2_256 || p.MhLength != manifest.DigestSize || uint64(codec) != p.Codec || codec != unixfs.Raw && codec != unixfs.DagPB {
		return unixfs.CID{}, false
	}
	hash := c.Hash()
	return unixfs.CID{Codec: codec, Digest: manifest.Digest(hash[len(hash)-manifest.DigestSize:])}, true
}

// libraryCID is a CID as the libraries have it.
func libraryCID(c unixfs.CID) cid.Cid {
	return cid.NewCidV1(uint64(c.Codec), hashOf(c))
}

func hashOf(c unixfs.CID) mh.Multihash {
	return append(mh.Multihash{mh.SHA2_256, manifest.DigestSize}, c.Digest[:]...)
}

// get returns a block.
func (s *servedBlocks) get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	b, err := s.blocks.Get(ctx, c)
	if err != nil {
		s.judge(ctx, c, err)
	}
	return b, err
}

// judge raises the alarm, unless nothing is wrong but that there is no such block, or
// that nobody waits for it any more.
func (s *servedBlocks) judge(ctx context.Context, c unixfs.CID, err error) {
	if errors.Is(err, ErrNotFound) || ctx.Err() != nil {
		return
	}
	s.count.Add(1)
	if s.damaged != nil {
		s.damaged(c, err)
	}
}

// Get implements [blockstore.Blockstore].
func (s *servedBlocks) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	ours, ok := address(c)
	if !ok {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	b, err := s.get(ctx, ours)
	if err != nil {
		return nil, theirError(c, err)
	}
	return blocks.NewBlockWithCid(b, c)
}

// GetSize returns the length of a block, or 1 for the empty one: the bitswap server
// takes 0 for the size of what is not there.
func (s *servedBlocks) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	ours, ok := address(c)
	if !ok {
		return 0, ipld.ErrNotFound{Cid: c}
	}
	n, err := s.blocks.Size(ctx, ours)
	if err != nil {
		s.judge(ctx, ours, err)
		return 0, theirError(c, err)
	}
	return max(1, n), nil
}

// theirError is an error as the libraries know it.
func theirError(c cid.Cid, err error) error {
	if errors.Is(err, ErrNotFound) {
		return ipld.ErrNotFound{Cid: c}
	}
	return err
}

// Has reports whether there is such a block.
func (s *servedBlocks) Has(ctx context.Context, c cid.Cid) (bool, error) {
	_, err := s.GetSize(ctx, c)
	if ipld.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

var errReadOnly = errors.New("blocks come from what is published: nothing can be added or removed")

// DeleteBlock, Put and PutMany are refused, and so is listing all of them.
func (s *servedBlocks) DeleteBlock(context.Context, cid.Cid) error { return errReadOnly }

// Put is refused.
func (s *servedBlocks) Put(context.Context, blocks.Block) error { return errReadOnly }

// PutMany is refused.
func (s *servedBlocks) PutMany(context.Context, []blocks.Block) error { return errReadOnly }

// AllKeysChan is refused.
func (s *servedBlocks) AllKeysChan(context.Context) (<-chan cid.Cid, error) { return nil, errReadOnly }
