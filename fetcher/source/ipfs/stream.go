package ipfs

import (
	"context"
	"fmt"
	"io"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// ahead is how many leaves of a stream are under way at a time. A connection of a
// fetch has as many as that in memory.
const ahead = 4

// leaf is one that arrives.
type leaf struct {
	block []byte
	err   error
}

// stream is the bytes of a span, leaf after leaf.
type stream struct {
	cancel context.CancelFunc
	leaves chan chan leaf // in their order
	next   []byte         // what is left of the one at hand
	skip   int64          // bytes of the first one that lie before the span
	left   int64          // bytes of the span
}

// stream begins to get the leaves of a span of a file, or of chunks.
func (s *Source) stream(ctx context.Context, span fetcher.Span, file unixfs.CID) *stream {
	ctx, cancel := context.WithCancel(ctx)
	first, last := span.Offset/unixfs.LeafSize, (span.Offset+span.Length-1)/unixfs.LeafSize
	r := &stream{
		cancel: cancel,
		leaves: make(chan chan leaf, ahead-1),
		skip:   span.Offset - first*unixfs.LeafSize,
		left:   span.Length,
	}
	w := &way{source: s, ctx: ctx, nodes: map[unixfs.CID][]byte{}}
	go func() {
		defer close(r.leaves)
		for number := first; number <= last; number++ {
			arriving := make(chan leaf, 1)
			select {
			case r.leaves <- arriving:
			case <-ctx.Done():
				return
			}
			c, err := unixfs.CID{}, error(nil)
			if span.Chunks != nil {
				c = unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Digest(span.Chunks[(number-first)*manifest.DigestSize:][:manifest.DigestSize])}
			} else {
				c, err = unixfs.Leaf(file, span.Size, number, w.node)
			}
			if err != nil {
				arriving <- leaf{err: err}
				return
			}
			length := min(unixfs.LeafSize, span.Size-number*unixfs.LeafSize)
			go func() { arriving <- s.leaf(ctx, c, length) }()
		}
	}()
	return r
}

// leaf gets a leaf. What is in it is for others to check.
func (s *Source) leaf(ctx context.Context, c unixfs.CID, length int64) leaf {
	block, err := s.blocks.Get(ctx, c)
	if err == nil && int64(len(block)) != length {
		err = fmt.Errorf("it has %d bytes, want %d", len(block), length)
	}
	if err != nil {
		return leaf{err: fmt.Errorf("block %s: %w", c, err)}
	}
	return leaf{block: block}
}

func (r *stream) Read(p []byte) (int, error) {
	for len(r.next) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		arriving, more := <-r.leaves
		if !more {
			return 0, io.ErrUnexpectedEOF // it was closed
		}
		l := <-arriving
		if l.err != nil {
			return 0, l.err
		}
		r.next = l.block[r.skip:]
		r.next = r.next[:min(int64(len(r.next)), r.left)]
		r.skip = 0
	}
	n := copy(p, r.next)
	r.next, r.left = r.next[n:], r.left-int64(n)
	return n, nil
}

// Close ends what is under way.
func (r *stream) Close() error {
	r.cancel()
	return nil
}

// way keeps the nodes between the root of a file and its leaves, which are asked
// for again and again, while a stream needs them.
type way struct {
	source *Source
	ctx    context.Context
	nodes  map[unixfs.CID][]byte
}

// maxNodes is more than lie above a leaf.
const maxNodes = 8

func (w *way) node(c unixfs.CID) ([]byte, error) {
	if block, met := w.nodes[c]; met {
		return block, nil
	}
	block, err := checked(w.ctx, w.source.blocks, c)
	if err != nil {
		return nil, err
	}
	if len(w.nodes) >= maxNodes {
		clear(w.nodes)
	}
	w.nodes[c] = block
	return block, nil
}
