package ipfs

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	ufs "github.com/ipfs/boxo/ipld/unixfs/pb"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// The values of dag-scope.
const (
	scopeBlock  = "block"  // what the path leads to, without what lies below
	scopeEntity = "entity" // of a file its bytes, of a directory what lists it
	scopeAll    = "all"
)

// carRequest is which blocks are asked for.
type carRequest struct {
	scope      string
	from       int64  // of the bytes of a file; below 0 it counts from the end
	to         *int64 // the last one, likewise; nil is the end
	duplicates bool   // blocks that come again are written again
}

// parseEntityBytes reads the value of entity-bytes, like 0:1023 or -5:*.
func (r *carRequest) parseEntityBytes(s string) (err error) {
	from, to, ok := strings.Cut(s, ":")
	if !ok {
		return badRequest("entity-bytes=%s: want from:to", s)
	}
	if r.from, err = strconv.ParseInt(from, 10, 64); err != nil {
		return badRequest("entity-bytes=%s: %.40q is no number", s, from)
	}
	if to == "*" {
		return nil
	}
	n, err := strconv.ParseInt(to, 10, 64)
	if err != nil || (n < r.from && (n < 0) == (r.from < 0)) {
		return badRequest("entity-bytes=%s: it ends before it begins, or not with a number", s)
	}
	r.to = &n
	return nil
}

// span is which bytes of a file are asked for: from the first to before to.
func (r *carRequest) span(size int64) (from, to int64) {
	from, to = r.from, size
	if from < 0 {
		from = max(0, size+from)
	}
	if r.to != nil && *r.to < 0 {
		to = size + *r.to + 1
	} else if r.to != nil {
		to = min(size, *r.to+1)
	}
	return from, max(from, to)
}

// maxCAR is how many bytes there can be in a CAR without duplicates: which blocks it
// has already must be remembered.
const maxCAR = 16 << 30

// total is about how many bytes of blocks a CAR of the tree has.
func (r *carRequest) total(n *treeNode) int64 {
	if r.scope == scopeEntity && n.kind == ufs.Data_File {
		from, to := r.span(n.size)
		return to - from
	}
	total := n.block
	for _, l := range n.links {
		total += l.total
	}
	return total
}

// carWriter writes a CAR of version 1: a header, and sections of a CID and its block each. The
// blocks come in the order depth first.
type carWriter struct {
	ctx     context.Context
	store   *servedBlocks
	request *carRequest
	written map[manifest.Digest]struct{} // nil if duplicates are written too
	to      io.Writer
}

func (w *carWriter) header(root unixfs.CID) error {
	h, err := carHeader([]unixfs.CID{root})
	if err != nil {
		return err
	}
	return writeSection(w.to, h)
}

// section writes a block, if it is not there already.
func (w *carWriter) section(c unixfs.CID, block []byte) error {
	if w.written != nil {
		if _, again := w.written[c.Digest]; again {
			return nil
		}
		w.written[c.Digest] = struct{}{}
	}
	return writeSection(w.to, c.Bytes(), block)
}

// below writes what the scope has below a node.
func (w *carWriter) below(n *treeNode) error {
	switch {
	case w.request.scope == scopeAll:
		return w.each(n.links, w.below)
	case w.request.scope == scopeEntity && n.kind == ufs.Data_File:
		from, to := w.request.span(n.size)
		return w.file(n, from, to)
	case w.request.scope == scopeEntity && n.kind == ufs.Data_HAMTShard:
		return w.shards(n)
	}
	return nil
}

// shards writes the rest of a directory that is a HAMT.
func (w *carWriter) shards(n *treeNode) error {
	var shards []treeLink
	for _, l := range n.links {
		if len(l.name) == shardPrefix {
			shards = append(shards, l)
		}
	}
	return w.each(shards, w.shards)
}

// file writes what is needed to read the bytes of a file from the one to before the
// other.
func (w *carWriter) file(n *treeNode, from, to int64) error {
	at := int64(len(n.data))
	for i, l := range n.links {
		if at < to && from < at+l.size {
			start := at
			if err := w.each(n.links[i:i+1], func(child *treeNode) error { return w.file(child, from-start, to-start) }); err != nil {
				return err
			}
		}
		at += l.size
	}
	return nil
}

// each writes the blocks of links, and goes on below each that has links itself.
func (w *carWriter) each(links []treeLink, below func(*treeNode) error) error {
	for _, l := range links {
		if _, again := w.written[l.Digest]; again && (l.Codec == unixfs.Raw || w.request.scope == scopeAll) {
			continue
		}
		block, err := w.store.get(w.ctx, l.CID)
		if err != nil {
			return err
		}
		if err := w.section(l.CID, block); err != nil {
			return err
		}
		if l.Codec == unixfs.Raw {
			continue
		}
		// Below one that is there already, other parts of a file may be wanted this time.
		n, err := parseNode(l.CID, block)
		if err != nil {
			return err
		}
		if err := below(n); err != nil {
			return err
		}
	}
	return nil
}

// describe is the request as a part of an ETag.
func (r *carRequest) describe() string {
	to := "*"
	if r.to != nil {
		to = strconv.FormatInt(*r.to, 10)
	}
	return fmt.Sprintf("%s.%d:%s.%t", r.scope, r.from, to, r.duplicates)
}
