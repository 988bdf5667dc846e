package ipfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-car/v2"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/scripts/kubo"
)

// memory has blocks in memory.
type memory map[unixfs.CID][]byte

func (m memory) Get(_ context.Context, c unixfs.CID) ([]byte, error) {
	block, ok := m[c]
	if !ok {
		return nil, ErrNotFound
	}
	return block, nil
}

func (m memory) Size(ctx context.Context, c unixfs.CID) (int, error) {
	block, err := m.Get(ctx, c)
	return len(block), err
}

func (m memory) tell(c unixfs.CID, block []byte) { m[c] = bytes.Clone(block) }

// file adds the blocks of a file.
func (m memory) file(raw []byte) unixfs.Link {
	var leaves []byte
	for leaf := range slices.Chunk(raw, unixfs.LeafSize) {
		d := manifest.Sum(leaf)
		m[unixfs.CID{Codec: unixfs.Raw, Digest: d}] = leaf
		leaves = append(leaves, d[:]...)
	}
	link := unixfs.File(int64(len(raw)), leaves, m.tell)
	if len(raw) == 0 {
		m[link.CID] = nil
	}
	return link
}

// tree adds the blocks of files, whose paths are in order.
func (m memory) tree(t *testing.T, paths []string, raw func(path string) []byte) unixfs.CID {
	t.Helper()
	root, err := unixfs.Tree(len(paths), func(i int) (string, unixfs.Link) { return paths[i], m.file(raw(paths[i])) }, m.tell)
	if err != nil {
		t.Fatal(err)
	}
	return root.CID
}

// stream is n bytes that follow from a seed.
func stream(seed string, n int) []byte {
	var out []byte
	for i := uint64(0); len(out) < n; i++ {
		d := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(seed), i))
		out = append(out, d[:]...)
	}
	return out[:n]
}

// database is a tree with all that trees have: directories, a sharded one, files of
// several leaves, an empty one, equal ones, and one whose bytes are those of a node.
func database(t *testing.T) (memory, unixfs.CID) {
	t.Helper()
	m := memory{}
	node := m[m.file(stream("sst", 3*unixfs.LeafSize)).CID]
	paths := []string{"full/CURRENT", "full/empty", "full/node", "full/sst", "full/zeros", "parachains/db/sst"}
	for i := range 5000 {
		paths = append(paths, fmt.Sprintf("table/%06d.sst", i))
	}
	return m, m.tree(t, paths, func(path string) []byte {
		switch filepath.Base(path) {
		case "empty":
			return nil
		case "node":
			return node
		case "sst":
			return stream("sst", 3*unixfs.LeafSize)
		case "zeros":
			return make([]byte, 2*unixfs.LeafSize+5)
		}
		return []byte(path)
	})
}

func TestWriteCAR(t *testing.T) {
	m, root := database(t)
	other := m.file(stream("other", 2*unixfs.LeafSize)).CID
	var b, again bytes.Buffer
	told := 0
	if err := WriteCAR(t.Context(), &b, []unixfs.CID{root, other}, m, CAROptions{Written: func(n int) { told += n }}); err != nil {
		t.Fatal(err)
	}
	if err := WriteCAR(t.Context(), &again, []unixfs.CID{root, other}, m, CAROptions{Parallel: 1}); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("a second archive of the same is another one, %v", err)
	}

	r, err := car.NewBlockReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Roots, r.Version); got != fmt.Sprintf("[%s %s] 1", root, other) {
		t.Errorf("roots and version %s", got)
	}
	var order []unixfs.CID
	err = Walk(t.Context(), m, []unixfs.CID{root, other}, func(c unixfs.CID, _ []byte) error { order = append(order, c); return nil })
	if err != nil {
		t.Fatal(err)
	}
	bytesRead := 0
	for i := 0; ; i++ {
		block, err := r.Next() // compares the digest
		if errors.Is(err, io.EOF) {
			if i != len(m) {
				t.Errorf("%d blocks of %d", i, len(m))
			}
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if c, err := unixfs.ParseCID(block.Cid().String()); err != nil || i >= len(order) || c != order[i] {
			t.Fatalf("block %d is %s, %v", i, block.Cid(), err)
		}
		bytesRead += len(block.RawData())
	}
	if told != bytesRead {
		t.Errorf("told of %d bytes, written %d", told, bytesRead)
	}
}

// TestKuboReadsCAR: what Kubo has imported is what we have archived, and what it
// exports again is the same archive.
func TestKuboReadsCAR(t *testing.T) {
	m, root := database(t)
	file := filepath.Join(t.TempDir(), "database.car")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(WriteCAR(t.Context(), f, []unixfs.CID{root}, m, CAROptions{}), f.Close()); err != nil {
		t.Fatal(err)
	}
	node := kubo.NewSwarm().Start(t, kubo.Options{})
	node.Run(t, "dag", "import", file)
	if _, pinned := node.Pins(t)[root.String()]; !pinned {
		t.Errorf("%s has not been pinned", root)
	}
	if !bytes.Equal(node.Cat(t, root.String()+"/parachains/db/sst"), stream("sst", 3*unixfs.LeafSize)) {
		t.Error("a file has other bytes")
	}
	if got := string(node.Cat(t, root.String()+"/table/004321.sst")); got != "table/004321.sst" {
		t.Errorf("a file of a sharded directory is %q", got)
	}
	want, err := os.ReadFile(file)
	if got := node.Run(t, "dag", "export", "--progress=false", root.String()); err != nil || got != strings.TrimSuffix(string(want), "\n") {
		t.Errorf("Kubo exports %d bytes, we %d, %v", len(got), len(want), err)
	}
}

// TestCARFaults: an archive that lacks something is an error.
func TestCARFaults(t *testing.T) {
	m, root := database(t)
	var order []unixfs.CID
	if err := Walk(t.Context(), m, []unixfs.CID{root}, func(c unixfs.CID, _ []byte) error { order = append(order, c); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 5, len(order) / 2, len(order) - 1} {
		block := m[order[i]]
		delete(m, order[i])
		if err := WriteCAR(t.Context(), io.Discard, []unixfs.CID{root}, m, CAROptions{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("without block %d: %v", i, err)
		}
		m[order[i]] = block
	}
	for _, size := range []int{0, 100, 1 << 20, 3 << 20} {
		if err := WriteCAR(t.Context(), &limited{size}, []unixfs.CID{root}, m, CAROptions{}); !errors.Is(err, errFull) {
			t.Errorf("full after %d bytes: %v", size, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := WriteCAR(ctx, io.Discard, []unixfs.CID{root}, m, CAROptions{Written: func(int) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	strange := unixfs.CID{Codec: unixfs.DagPB, Digest: manifest.Sum([]byte("x"))}
	m[strange] = []byte("x")
	if err := WriteCAR(t.Context(), io.Discard, []unixfs.CID{strange}, m, CAROptions{}); err == nil {
		t.Error("a block that cannot be parsed is no error")
	}
}

var errFull = errors.New("full")

type limited struct{ left int }

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestLinks(t *testing.T) {
	good := cid.MustParse("bafybeigvnplpwioncrrnj72ssj567wetaoe6nzlesxvt56geid2mk6lj3u")
	if c, err := linked(good); err != nil || c.String() != good.String() {
		t.Errorf("%s, %v", c, err)
	}
	for _, other := range []string{
		"QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",             // version 0
		"bafyreibtj4jh7pwwdqvqf2qwbqzvlpuqzsgkhzbjgnmuwaqlsw7y5p3c6i", // dag-cbor
		"bafkqac3imvwgy3zao5xxe3de",                                   // identity
	} {
		c, err := cid.Parse(other)
		if err != nil {
			t.Fatalf("%s: %v", other, err)
		}
		if got, err := linked(c); err == nil {
			t.Errorf("%s is taken for %s", other, got)
		}
	}
}
