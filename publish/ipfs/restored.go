package ipfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// Restored is the tree of a snapshot's files as Blocks, cut out of a directory that a
// snapshot was restored into. A node may run on it and change what it likes, by whole
// files or in place: each chunk is hashed whenever it is asked for, and what is not what
// it was is not there. It is safe for concurrent use.
type Restored struct {
	root   *os.Root
	index  *manifest.Index
	chunks []chunkPlace // in the order of their digests
	nodes  map[manifest.Digest]nodePlace
}

// chunkPlace is a chunk of a file. Its digest is in the index.
type chunkPlace struct{ file, chunk uint32 }

// nodePlace is a node above the chunks: of a file, which is made again when somebody
// wants it, or of a directory.
type nodePlace struct {
	file  int32 // -1 for a directory
	size  int32
	block []byte // of a directory
}

var _ Blocks = (*Restored)(nil)

// OpenRestored opens the tree of an index in a directory.
func OpenRestored(dir string, x *manifest.Index) (*Restored, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	r := &Restored{root: root, index: x, nodes: map[manifest.Digest]nodePlace{}}
	for i := range x.Files {
		f := &x.Files[i]
		for c := range f.ChunkCount() {
			r.chunks = append(r.chunks, chunkPlace{uint32(i), uint32(c)})
		}
	}
	slices.SortFunc(r.chunks, func(a, b chunkPlace) int { return bytes.Compare(r.digest(a), r.digest(b)) })
	_, err = unixfs.Tree(len(x.Files), func(i int) (string, unixfs.Link) {
		f := &x.Files[i]
		return f.Path, unixfs.File(f.Size, f.Chunks, func(c unixfs.CID, block []byte) {
			r.nodes[c.Digest] = nodePlace{file: int32(i), size: int32(len(block))}
		})
	}, func(c unixfs.CID, block []byte) {
		r.nodes[c.Digest] = nodePlace{file: -1, size: int32(len(block)), block: block}
	})
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	r.nodes[manifest.Sum(nil)] = nodePlace{file: -1, block: []byte{}} // the leaf of an empty file
	return r, nil
}

// Close closes the directory.
func (r *Restored) Close() error { return r.root.Close() }

func (r *Restored) digest(p chunkPlace) []byte {
	return r.index.Files[p.file].Chunks[int(p.chunk)*manifest.DigestSize:][:manifest.DigestSize]
}

// places are those of a chunk, which several files may have.
func (r *Restored) places(d manifest.Digest) []chunkPlace {
	first := sort.Search(len(r.chunks), func(i int) bool { return bytes.Compare(r.digest(r.chunks[i]), d[:]) >= 0 })
	end := first
	for end < len(r.chunks) && bytes.Equal(r.digest(r.chunks[end]), d[:]) {
		end++
	}
	return r.chunks[first:end]
}

// Size implements [Blocks].
func (r *Restored) Size(_ context.Context, c unixfs.CID) (int, error) {
	if n, ok := r.nodes[c.Digest]; ok {
		return int(n.size), nil
	}
	places := r.places(c.Digest)
	if len(places) == 0 {
		return 0, ErrNotFound
	}
	return r.index.Files[places[0].file].ChunkLength(int(places[0].chunk)), nil
}

// Get implements [Blocks].
func (r *Restored) Get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	if n, ok := r.nodes[c.Digest]; ok {
		return r.node(c, n), nil
	}
	for _, p := range r.places(c.Digest) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		chunk, err := r.read(p)
		if err != nil {
			return nil, fmt.Errorf("block %s: %w", c, err)
		}
		if chunk != nil && manifest.Sum(chunk) == c.Digest {
			return chunk, nil
		}
	}
	return nil, ErrNotFound
}

func (r *Restored) node(c unixfs.CID, n nodePlace) (block []byte) {
	if n.file < 0 {
		return n.block
	}
	f := &r.index.Files[n.file]
	unixfs.File(f.Size, f.Chunks, func(made unixfs.CID, b []byte) {
		if made == c {
			block = b
		}
	})
	return block
}

// read reads a chunk, nil if the file is gone or shorter.
func (r *Restored) read(p chunkPlace) ([]byte, error) {
	f := &r.index.Files[p.file]
	file, err := r.root.Open(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	chunk := make([]byte, f.ChunkLength(int(p.chunk)))
	_, err = file.ReadAt(chunk, int64(p.chunk)*manifest.ChunkSize)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", f.Path, int64(p.chunk)*manifest.ChunkSize, err)
	}
	return chunk, nil
}
