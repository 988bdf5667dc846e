package ipfs

import (
	"context"
	"errors"
	"io"

	ufs "github.com/ipfs/boxo/ipld/unixfs/pb"

	"github.com/qsync/qsync/manifest/unixfs"
)

// fileReader reads a file of UnixFS. It keeps one leaf in memory, and the nodes above it.
type fileReader struct {
	ctx   context.Context
	store *servedBlocks
	root  *treeNode // if the file is one leaf, a node with that as its data
	size  int64

	offset int64
	moved  bool       // the offset is not where the rest below is
	open   []openNode // from the root down to the leaf that is read next
	leaf   []byte     // what is left of the one at hand
	skip   int64      // bytes of what is read next that lie before the offset
}

// openNode is a node whose children before next have been read.
type openNode struct {
	*treeNode
	next int
}

// openFile opens the file whose root is c. It is nil if that is something else.
func openFile(ctx context.Context, store *servedBlocks, c unixfs.CID) (*fileReader, error) {
	b, err := store.get(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.Codec == unixfs.Raw {
		return &fileReader{ctx: ctx, store: store, root: &treeNode{data: b}, size: int64(len(b)), moved: true}, nil
	}
	n, err := parseNode(c, b)
	if err != nil || n.kind != ufs.Data_File {
		return nil, err
	}
	return &fileReader{ctx: ctx, store: store, root: n, size: n.size, moved: true}, nil
}

var errSeek = errors.New("seek to before the beginning")

// Seek implements [io.Seeker]. Nothing is read for it.
func (r *fileReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errSeek
	}
	r.moved = r.moved || offset != r.offset
	r.offset = offset
	return offset, nil
}

func (r *fileReader) Read(p []byte) (int, error) {
	if r.moved {
		r.restart()
	}
	for len(r.leaf) == 0 {
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.leaf)
	r.leaf, r.offset = r.leaf[n:], r.offset+int64(n)
	return n, nil
}

// restart goes to the offset from the root.
func (r *fileReader) restart() {
	r.moved = false
	r.leaf, r.open, r.skip = r.root.data, append(r.open[:0], openNode{treeNode: r.root}), r.offset
	r.drop()
}

// drop leaves out what lies before the place to read from.
func (r *fileReader) drop() {
	n := min(r.skip, int64(len(r.leaf)))
	r.leaf, r.skip = r.leaf[n:], r.skip-n
}

// advance gets the next leaf, or goes one node nearer to it.
func (r *fileReader) advance() error {
	r.leaf = nil // before the next one is got
	for len(r.open) > 0 && r.open[len(r.open)-1].next == len(r.open[len(r.open)-1].links) {
		r.open = r.open[:len(r.open)-1]
	}
	if len(r.open) == 0 {
		return io.EOF
	}
	last := &r.open[len(r.open)-1]
	link := last.links[last.next]
	last.next++
	if r.skip >= link.size {
		r.skip -= link.size
		return nil
	}
	b, err := r.store.get(r.ctx, link.CID)
	if err != nil {
		return err
	}
	r.leaf = b
	if link.Codec == unixfs.DagPB {
		n, err := parseNode(link.CID, b)
		if err != nil {
			return err
		}
		r.leaf, r.open = n.data, append(r.open, openNode{treeNode: n})
	}
	r.drop()
	return nil
}
