package ipfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// Source reads a published tree from one that has its blocks.
type Source struct {
	blocks Blocks

	mu   sync.Mutex
	root unixfs.CID // of the tree that keys are paths in; none if its codec is 0
	// directories are the nodes that have been met on the ways to keys. There is a
	// hundred bytes of them for each object that was read.
	directories map[unixfs.CID][]byte
}

var _ fetcher.Addressed = (*Source)(nil)

// NewSource makes a source of what blocks has of any version: see
// [Source.HasSegments].
func NewSource(blocks Blocks) *Source { return &Source{blocks: blocks} }

// NewSite makes a source of the tree below root.
func NewSite(blocks Blocks, root unixfs.CID) *Source { return &Source{blocks: blocks, root: root} }

// String implements [fetcher.Source].
func (s *Source) String() string { return s.blocks.String() }

// HasSegments implements [fetcher.Addressed].
func (s *Source) HasSegments(ctx context.Context, roots *manifest.IPFS) (bool, error) {
	if roots == nil {
		return false, nil
	}
	root, err := unixfs.ParseCID(roots.Zstd)
	if err != nil {
		return false, err
	}
	block, err := checked(ctx, s.blocks, root)
	if errors.Is(err, fetcher.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root, s.directories = root, map[unixfs.CID][]byte{root: block}
	return true, nil
}

// Get implements [fetcher.Source].
func (s *Source) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	file, err := s.find(ctx, key)
	if err != nil {
		return nil, err
	}
	size := int64(-1)
	if file.Codec == unixfs.DagPB {
		node, err := checked(ctx, s.blocks, file)
		if err == nil {
			size, err = unixfs.FileSize(node)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	if size > limit {
		return nil, fmt.Errorf("%s has more than the %d bytes that are allowed", key, limit)
	}
	if size >= 0 {
		body := s.stream(ctx, fetcher.Span{Key: key, Length: size, Size: size}, file)
		defer body.Close()
		return io.ReadAll(body)
	}
	leaf, err := checked(ctx, s.blocks, file)
	if err == nil && int64(len(leaf)) > limit {
		err = fmt.Errorf("%s has more than the %d bytes that are allowed", key, limit)
	}
	return leaf, err
}

// Open implements [fetcher.Source]. A span of chunks is got by their digests.
func (s *Source) Open(ctx context.Context, span fetcher.Span) (io.ReadCloser, error) {
	if span.Chunks != nil {
		return s.stream(ctx, span, unixfs.CID{}), nil
	}
	file, err := s.find(ctx, span.Key)
	if err != nil {
		return nil, err
	}
	return s.stream(ctx, span, file), nil
}

// find finds the root of a file in the tree.
func (s *Source) find(ctx context.Context, key string) (unixfs.CID, error) {
	s.mu.Lock()
	at := s.root
	s.mu.Unlock()
	if at.Codec == 0 {
		return at, fmt.Errorf("%s: %w: there is no tree to look in", key, fetcher.ErrNotFound)
	}
	for name := range strings.SplitSeq(key, "/") {
		link, err := unixfs.Lookup(at, name, func(c unixfs.CID) ([]byte, error) { return s.directory(ctx, c) })
		if errors.Is(err, fs.ErrNotExist) {
			return at, fmt.Errorf("%s: %w: %w", key, fetcher.ErrNotFound, err)
		}
		if err != nil {
			return at, fmt.Errorf("%s: %w", key, err)
		}
		at = link.CID
	}
	return at, nil
}

// directory returns a node of a directory, which is kept.
func (s *Source) directory(ctx context.Context, c unixfs.CID) ([]byte, error) {
	s.mu.Lock()
	block, met := s.directories[c]
	s.mu.Unlock()
	if met {
		return block, nil
	}
	block, err := checked(ctx, s.blocks, c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.directories == nil {
		s.directories = map[unixfs.CID][]byte{}
	}
	s.directories[c] = block
	return block, nil
}
