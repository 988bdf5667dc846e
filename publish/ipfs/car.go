package ipfs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest/unixfs"
)

// CAROptions say how an archive is written.
type CAROptions struct {
	// Parallel is how many leaves are read at once. So many, of up to 1 MiB each,
	// wait in memory for their turn. 0 is 4.
	Parallel int
	// LeftOut says which trees are left out, with all that is below; nil is none.
	LeftOut func(c unixfs.CID) bool
	// Written is told of the bytes of each block that has been written; nil is
	// nobody.
	Written func(bytes int)
}

// WriteCAR writes the trees under roots as a CAR of version 1, which
// `ipfs dag import` reads: https://ipld.io/specs/transport/car/carv1/. Its blocks come in the order
// of [Walk], so that the same roots give the same bytes.
func WriteCAR(ctx context.Context, w io.Writer, roots []unixfs.CID, blocks Blocks, o CAROptions) error {
	if o.Parallel < 1 {
		o.Parallel = 4
	}
	if o.LeftOut == nil {
		o.LeftOut = func(unixfs.CID) bool { return false }
	}
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan carBlock, o.Parallel-1) // one more is with the writer
	g.Go(func() error {
		defer close(queue)
		return walkUpTo(ctx, blocks, roots, o.LeftOut, func(c unixfs.CID, block []byte) error {
			b := carBlock{c, make(chan []byte, 1)}
			select {
			case queue <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
			if block != nil {
				b.bytes <- block
				return nil
			}
			g.Go(func() error {
				leaf, err := blocks.Get(ctx, c)
				if err != nil {
					return fmt.Errorf("read block %s: %w", c, err)
				}
				b.bytes <- leaf
				return nil
			})
			return nil
		})
	})
	g.Go(func() error {
		out := bufio.NewWriter(w)
		header, err := carHeader(roots)
		if err != nil {
			return err
		}
		if err := writeSection(out, header); err != nil {
			return err
		}
		for b := range queue {
			select {
			case block := <-b.bytes:
				if err := writeSection(out, b.c.Bytes(), block); err != nil {
					return err
				}
				if o.Written != nil {
					o.Written(len(block))
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := ctx.Err(); err != nil {
			return err // the queue has ended early
		}
		return out.Flush()
	})
	return g.Wait()
}

// carBlock is a block at its place in the archive, whose bytes come when they have
// been read.
type carBlock struct {
	c     unixfs.CID
	bytes chan []byte
}

// writeSection writes the length of the parts together, and the parts.
func writeSection(w io.Writer, parts ...[]byte) error {
	var n uint64
	for _, p := range parts {
		n += uint64(len(p))
	}
	if _, err := w.Write(binary.AppendUvarint(nil, n)); err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

func carHeader(roots []unixfs.CID) ([]byte, error) {
	links := make([]datamodel.Link, len(roots))
	for i, root := range roots {
		c, err := cid.Cast(root.Bytes())
		if err != nil {
			return nil, fmt.Errorf("root %s: %w", root, err)
		}
		links[i] = cidlink.Link{Cid: c}
	}
	n, err := qp.BuildMap(basicnode.Prototype.Any, 2, func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "roots", qp.List(int64(len(links)), func(l datamodel.ListAssembler) {
			for _, link := range links {
				qp.ListEntry(l, qp.Link(link))
			}
		}))
		qp.MapEntry(m, "version", qp.Int(1))
	})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = dagcbor.Encode(n, &b)
	return b.Bytes(), err
}
