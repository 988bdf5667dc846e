package ipfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/internal/durable"
)

// Store is where the published objects are.
type Store interface {
	// Read returns exactly length bytes of an object from offset on.
	Read(ctx context.Context, key string, offset, length int64) ([]byte, error)
}

// View is the trees of versions as Blocks: a table for each says which bytes of
// which published object a block is. It is safe for concurrent use, and several views, of
// several processes, can have one directory: they share the tables.
type View struct {
	dir    string
	store  Store
	frames *manifest.FrameDecoder

	mu     sync.RWMutex
	tables []*versionTable                       // the newest first
	sites  map[string]map[manifest.Digest][]byte // of channels
	leaves map[manifest.Digest][]byte            // of segments that no table has yet
}

// versionTable is the table of a version, named by the digest of its index.
type versionTable struct {
	*table
	index manifest.Digest
}

var _ Blocks = (*View)(nil)

const tableSuffix = ".blocks"

// OpenView opens the view whose tables are in dir, which is made if need be. All of
// it can be removed: it follows from what is published.
func OpenView(dir string, store Store) (*View, error) {
	frames, err := manifest.NewFrameDecoder()
	if err != nil {
		return nil, err
	}
	v := &View{
		dir: dir, store: store, frames: frames,
		sites: map[string]map[manifest.Digest][]byte{}, leaves: map[manifest.Digest][]byte{},
	}
	if err := durable.MkdirAll(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), tableSuffix)
		index, err := manifest.ParseDigest("sha256:" + name)
		if !is || err != nil {
			continue
		}
		if _, err := v.Has(index); err != nil {
			return nil, errors.Join(err, v.Close())
		}
	}
	return v, nil
}

// Close closes the tables.
func (v *View) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var err error
	for _, t := range v.tables {
		err = errors.Join(err, t.file.Close())
	}
	v.tables = nil
	return err
}

func (v *View) path(index manifest.Digest) string {
	return filepath.Join(v.dir, index.Hex()+tableSuffix)
}

// Get implements [Blocks].
func (v *View) Get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	block, p, err := v.find(c)
	if err != nil {
		return nil, err
	}
	if block == nil {
		if block, err = v.read(ctx, p); err != nil {
			return nil, fmt.Errorf("block %s: %w", c, err)
		}
	}
	if got := manifest.Sum(block); got != c.Digest {
		return nil, fmt.Errorf("block %s: its bytes have changed: their digest is %s now", c, got)
	}
	return block, nil
}

// Size implements [Blocks].
func (v *View) Size(_ context.Context, c unixfs.CID) (int, error) {
	block, p, err := v.find(c)
	if err != nil {
		return 0, err
	}
	if block != nil {
		return len(block), nil
	}
	return int(p.size), nil
}

// place is where a block is: in an object.
type place struct {
	record
	key string
}

// find returns a block, or its place.
func (v *View) find(c unixfs.CID) (block []byte, p place, err error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, site := range v.sites {
		if block, is := site[c.Digest]; is {
			return block, p, nil
		}
	}
	for _, t := range v.tables {
		r, err := t.find(c.Digest)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, p, err
		}
		if r.kind == isNode {
			block, err = t.node(r)
			return block, p, err
		}
		object, err := t.object(r.object)
		if err != nil {
			return nil, p, err
		}
		p = place{r, manifest.SegmentKey(object)}
		if r.kind == inIndex {
			p.key = manifest.IndexKey(object)
		}
		return nil, p, nil
	}
	return nil, p, ErrNotFound
}

func (v *View) read(ctx context.Context, p place) ([]byte, error) {
	b, err := v.store.Read(ctx, p.key, int64(p.offset), int64(p.length))
	if err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", p.key, p.offset, err)
	}
	if p.kind != inChunk {
		return b, nil
	}
	chunk, err := v.frames.Decode(b, nil, int(p.size))
	if err != nil {
		return nil, fmt.Errorf("unpack %s at %d: %w", p.key, p.offset, err)
	}
	return chunk, nil
}

// Has reports whether the blocks of a version are part of the view. They become so if
// another view has written the table; a damaged one is removed.
func (v *View) Has(index manifest.Digest) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if slices.ContainsFunc(v.tables, func(t *versionTable) bool { return t.index == index }) {
		return true, nil
	}
	t, err := openTable(v.path(index))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, errTable):
		return false, os.Remove(v.path(index))
	case err != nil:
		return false, err
	}
	v.tables = append([]*versionTable{{t, index}}, v.tables...)
	return true, nil
}

// Add makes the blocks of a version part of the view. A version that is there
// already costs nothing.
func (v *View) Add(ctx context.Context, x *manifest.Index, index manifest.Digest, indexObject []byte) error {
	if has, err := v.Has(index); has || err != nil {
		return err
	}
	leaves, err := v.segmentLeaves(ctx, x)
	if err != nil {
		return err
	}
	s := &tableSource{index: x, leaves: leaves, digest: index, object: indexObject, numbers: map[manifest.Digest]uint32{index: 0}}
	for d := range leaves {
		s.numbers[d] = uint32(len(s.numbers))
	}
	if err := writeTable(v.path(index), s); err != nil {
		return fmt.Errorf("write table %s: %w", v.path(index), err)
	}
	if _, err := v.Has(index); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for d := range leaves {
		delete(v.leaves, d)
	}
	return nil
}

// Keep removes the versions whose indexes are not given. A table that was written after
// before stays: its version may be younger than what the caller knows.
func (v *View) Keep(indexes map[manifest.Digest]bool, before time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var kept []*versionTable
	var errs []error
	for _, t := range v.tables {
		info, err := t.file.Stat()
		if err != nil || indexes[t.index] || info.ModTime().After(before) {
			kept, errs = append(kept, t), append(errs, err)
			continue
		}
		if err := os.Remove(v.path(t.index)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		errs = append(errs, t.file.Close())
	}
	v.tables = kept
	return errors.Join(errs...)
}
