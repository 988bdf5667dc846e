package ipfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// Source reads a published tree from one that has its blocks.
type Source struct {
	blocks Blocks
	name   string
	site   Site // nil without

	mu    sync.Mutex
	tree  unixfs.CID // of the version's objects; none if its codec is 0
	files fetcher.Source
	sure  bool // that files are served
	// directories are the nodes that have been met on the ways to keys. There is a
	// hundred bytes of them for each object that was read.
	directories map[unixfs.CID][]byte
}

var _ fetcher.Addressed = (*Source)(nil)

// Site returns the root of the tree that holds all that is published: catalog, heads,
// manifests, and the objects of some versions.
type Site func(ctx context.Context) (unixfs.CID, error)

// Filer is a gateway that has files too, by their paths in a tree.
type Filer interface {
	Tree(root unixfs.CID) fetcher.Source
}

// NewSource makes a source of what blocks has of any version: see
// [Source.HasSegments]. From a [Filer] it asks for whole spans of files, unless it
// turns out that only blocks are served.
func NewSource(blocks Blocks) *Source { return &Source{blocks: blocks, name: blocks.String()} }

// NewSite makes a source of a site, which name stands for.
func NewSite(name string, blocks Blocks, site Site) *Source {
	return &Source{blocks: blocks, name: name, site: site}
}

// String implements [fetcher.Source].
func (s *Source) String() string { return s.name }

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
	s.tree, s.directories = root, map[unixfs.CID][]byte{root: block}
	if f, is := s.blocks.(Filer); is && s.site == nil {
		s.files = f.Tree(root)
	}
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
	if body, served, err := s.openFile(ctx, span); served {
		return body, err
	}
	file, err := s.find(ctx, span.Key)
	if err != nil {
		return nil, err
	}
	return s.stream(ctx, span, file), nil
}

// openFile asks for a span of a file, if files are served. A gateway that refuses the
// first one has blocks only.
func (s *Source) openFile(ctx context.Context, span fetcher.Span) (body io.ReadCloser, served bool, err error) {
	s.mu.Lock()
	files, sure := s.files, s.sure
	s.mu.Unlock()
	if files == nil {
		return nil, false, nil
	}
	body, err = files.Open(ctx, span)
	refused := errors.Is(err, fetcher.ErrNotFound) || errors.As(err, new(*backoff.PermanentError))
	if refused && !sure {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.files = nil
		return nil, false, nil
	}
	if err == nil && !sure {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sure = true
	}
	return body, true, err
}

// find finds the root of a file: in the tree of the version's objects, or else in the
// site.
func (s *Source) find(ctx context.Context, key string) (unixfs.CID, error) {
	s.mu.Lock()
	tree := s.tree
	s.mu.Unlock()
	if tree.Codec != 0 {
		file, err := s.findIn(ctx, tree, key)
		if s.site == nil || !errors.Is(err, fetcher.ErrNotFound) {
			return file, err
		}
	}
	if s.site == nil {
		return tree, fmt.Errorf("%s: %w: there is no tree to look in", key, fetcher.ErrNotFound)
	}
	root, err := s.site(ctx)
	if err != nil {
		return root, err
	}
	return s.findIn(ctx, root, key)
}

func (s *Source) findIn(ctx context.Context, at unixfs.CID, key string) (unixfs.CID, error) {
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
