package ipfs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	mdtest "github.com/ipfs/boxo/ipld/merkledag/test"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// The library's own importer is given the profile by value: its globals stay.
var profile = uio.UnixFS_v1_2025

// leafName is a builder of CIDs that does not hash leaves: the n-th has the digest of n.
type leafName struct {
	cid.Builder
	leaves *[]byte // their digests so far
}

func (b leafName) Sum(data []byte) (cid.Cid, error) {
	if b.GetCodec() != cid.Raw {
		return b.Builder.Sum(data)
	}
	d := manifest.Sum(fmt.Append(nil, len(*b.leaves)/manifest.DigestSize))
	*b.leaves = append(*b.leaves, d[:]...)
	return libraryCID(unixfs.CID{Codec: unixfs.Raw, Digest: d}), nil
}

func (b leafName) WithCodec(codec uint64) cid.Builder {
	return leafName{b.Builder.WithCodec(codec), b.leaves}
}

// leafSizes is a chunker of size bytes that nobody looks at.
type leafSizes struct{ left int64 }

var oneLeaf = make([]byte, unixfs.LeafSize)

func (*leafSizes) Reader() io.Reader { return strings.NewReader("") }

func (c *leafSizes) NextBytes() ([]byte, error) {
	if c.left == 0 {
		return nil, io.EOF
	}
	n := min(c.left, unixfs.LeafSize)
	c.left -= n
	return oneLeaf[:n], nil
}

// nowhere is a DAG that forgets.
type nowhere struct{ ipld.DAGService }

func (nowhere) Add(context.Context, ipld.Node) error       { return nil }
func (nowhere) AddMany(context.Context, []ipld.Node) error { return nil }

// TestLargeFiles compares the trees of files with the library's: one node, two levels
// of nodes, three.
func TestLargeFiles(t *testing.T) {
	const width = 1024
	sizes := []int64{1, unixfs.LeafSize, unixfs.LeafSize + 1, 2 * unixfs.LeafSize}
	for _, leaves := range []int64{width - 1, width, width + 1, 2 * width, 3*width + 7, width*width + 1} {
		sizes = append(sizes, leaves*unixfs.LeafSize-5)
	}
	for _, size := range sizes {
		var leaves []byte
		params := helpers.DagBuilderParams{
			Maxlinks:   profile.FileDAGWidth,
			RawLeaves:  profile.RawLeaves,
			CidBuilder: leafName{profile.CidBuilder(), &leaves},
			Dagserv:    nowhere{},
		}
		builder, err := params.New(&leafSizes{size})
		must(t, err)
		node, err := balanced.Layout(builder)
		must(t, err)
		total, err := node.Size()
		must(t, err)
		link := unixfs.File(size, leaves, nil)
		if libraryCID(link.CID) != node.Cid() || link.Total != int64(total) {
			t.Errorf("%d bytes: %s with %d, want %s with %d", size, link, link.Total, node.Cid(), total)
		}
	}
}

// treeOf is what the library's importer makes of real files.
func treeOf(t testing.TB, dag ipld.DAGService, files map[string][]byte) cid.Cid {
	t.Helper()
	dirs := map[string]uio.Directory{"": newDirectory(t, dag)}
	var order []string // of directories, parents first
	var open func(dir string)
	open = func(dir string) {
		if _, ok := dirs[dir]; ok {
			return
		}
		parent, _ := cutLast(dir)
		open(parent)
		dirs[dir] = newDirectory(t, dag)
		order = append(order, dir)
	}
	for path, raw := range files {
		params := helpers.DagBuilderParams{
			Maxlinks: profile.FileDAGWidth, RawLeaves: profile.RawLeaves, CidBuilder: profile.CidBuilder(), Dagserv: dag,
		}
		builder, err := params.New(&realLeaves{bytes.NewReader(raw)})
		must(t, err)
		node, err := balanced.Layout(builder)
		must(t, err)
		dir, name := cutLast(path)
		open(dir)
		must(t, dirs[dir].AddChild(t.Context(), name, node))
	}
	for _, dir := range slices.Backward(order) {
		node, err := dirs[dir].GetNode()
		must(t, err)
		must(t, dag.Add(t.Context(), node))
		parent, name := cutLast(dir)
		must(t, dirs[parent].AddChild(t.Context(), name, node))
	}
	node, err := dirs[""].GetNode()
	must(t, err)
	return node.Cid()
}

func cutLast(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

func newDirectory(t testing.TB, dag ipld.DAGService) uio.Directory {
	t.Helper()
	d, err := uio.NewDirectory(dag, uio.WithCidBuilder(profile.CidBuilder()),
		uio.WithMaxHAMTFanout(profile.HAMTShardWidth), uio.WithSizeEstimationMode(profile.HAMTSizeEstimation))
	must(t, err)
	return d
}

// realLeaves is the chunker of the profile.
type realLeaves struct{ r *bytes.Reader }

func (c *realLeaves) Reader() io.Reader { return c.r }

func (c *realLeaves) NextBytes() ([]byte, error) {
	b := make([]byte, min(int64(c.r.Len()), profile.ChunkSize))
	if len(b) == 0 {
		return nil, io.EOF
	}
	_, err := io.ReadFull(c.r, b)
	return b, err
}

// TestRandomTrees compares whole trees with the library's.
func TestRandomTrees(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		files := map[string][]byte{}
		for i := range 1 + r.IntN(40) {
			path := fmt.Sprint(i, "-", r.IntN(1000))
			for range r.IntN(4) {
				path = fmt.Sprint("d", r.IntN(3), "/") + path
			}
			size := r.IntN(5000)
			if r.IntN(8) == 0 {
				size = unixfs.LeafSize*r.IntN(4) + r.IntN(3)
			}
			files[path] = random(uint64(i), size)
		}
		files["full/empty"] = nil
		root, _, _ := plant(t, files)
		if want := treeOf(t, mdtest.Mock(), files); libraryCID(root) != want {
			t.Errorf("%d files: %s, want %s", len(files), root, want)
		}
	}
}

// TestDirectories compares directories around the size at which they become a HAMT, and
// such with several levels.
func TestDirectories(t *testing.T) {
	// An entry takes 7 bytes, 36 of the CID, those of the name, and of its length and Tsize.
	for _, d := range []struct{ entries, name int }{
		{1, 10}, {4680, 10}, {4681, 10}, {4682, 10}, {4683, 10}, {4684, 10}, {4685, 10}, {4700, 10},
		{1000, 200}, {1079, 200}, {1080, 200}, {1081, 200}, {1200, 200}, {20_000, 12}, {70_000, 9},
	} {
		theirs := newDirectory(t, nowhere{})
		entries := make([]unixfs.Entry, d.entries)
		for i := range entries {
			raw := []byte{byte(i), byte(i >> 8)}
			digest := manifest.Sum(raw)
			name := fmt.Sprintf("%0*d", d.name, i)
			entries[i] = unixfs.Entry{Name: name, Link: unixfs.File(2, digest[:], nil)}
			node, err := merkledag.NewRawNodeWPrefix(raw, profile.CidBuilder().WithCodec(cid.Raw))
			must(t, err)
			must(t, theirs.AddChild(t.Context(), name, node))
		}
		node, err := theirs.GetNode()
		must(t, err)
		link, err := unixfs.Directory(entries, nil)
		must(t, err)
		total, err := node.Size()
		must(t, err)
		if libraryCID(link.CID) != node.Cid() || link.Total != int64(total) {
			t.Errorf("%d entries with names of %d: %s with %d, want %s with %d", d.entries, d.name, link, link.Total, node.Cid(), total)
		}
	}
	// All sizes near the threshold, by one byte each.
	names := strings.Repeat("n", 310)
	sharded := map[bool]int{}
	for last := range 50 {
		theirs := newDirectory(t, nowhere{})
		entries := make([]unixfs.Entry, 731)
		for i := range entries {
			name := fmt.Sprintf("%03d%s", i, names)
			if i == len(entries)-1 {
				name = name[:4+last]
			}
			digest := manifest.Sum([]byte{byte(i)})
			entries[i] = unixfs.Entry{Name: name, Link: unixfs.File(1, digest[:], nil)}
			node, err := merkledag.NewRawNodeWPrefix([]byte{byte(i)}, profile.CidBuilder().WithCodec(cid.Raw))
			must(t, err)
			must(t, theirs.AddChild(t.Context(), name, node))
		}
		node, err := theirs.GetNode()
		must(t, err)
		link, err := unixfs.Directory(entries, nil)
		must(t, err)
		if libraryCID(link.CID) != node.Cid() {
			t.Errorf("%d more bytes: %s, want %s", last, link, node.Cid())
		}
		sharded[len(node.Links()) < 257]++
	}
	if sharded[true] == 0 || sharded[false] == 0 {
		t.Errorf("the threshold is not among the sizes: %v", sharded)
	}
}
