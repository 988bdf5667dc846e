package ipfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-car/v2"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs"
	"github.com/qsync/qsync/publish/ipfs/ipfstest"
	"github.com/qsync/qsync/scripts/kubo"
)

// database is a tree with all that trees have: directories, a sharded one, files of
// several leaves, an empty one, equal ones, and one whose bytes are those of a node.
func database(t *testing.T) (*ipfstest.Memory, unixfs.CID) {
	t.Helper()
	m := ipfstest.NewMemory()
	node, err := m.Get(t.Context(), m.File(ipfstest.Stream("sst", 3*unixfs.LeafSize)).CID)
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"full/CURRENT", "full/empty", "full/node", "full/sst", "full/zeros", "parachains/db/sst"}
	for i := range 5000 {
		paths = append(paths, fmt.Sprintf("table/%06d.sst", i))
	}
	return m, m.Tree(t, paths, func(path string) []byte {
		switch filepath.Base(path) {
		case "empty":
			return nil
		case "node":
			return node
		case "sst":
			return ipfstest.Stream("sst", 3*unixfs.LeafSize)
		case "zeros":
			return make([]byte, 2*unixfs.LeafSize+5)
		}
		return []byte(path)
	})
}

func TestWriteCAR(t *testing.T) {
	m, root := database(t)
	other := m.File(ipfstest.Stream("other", 2*unixfs.LeafSize)).CID
	var b, again bytes.Buffer
	told := 0
	if err := ipfs.WriteCAR(t.Context(), &b, []unixfs.CID{root, other}, m, ipfs.CAROptions{Written: func(n int) { told += n }}); err != nil {
		t.Fatal(err)
	}
	if err := ipfs.WriteCAR(t.Context(), &again, []unixfs.CID{root, other}, m, ipfs.CAROptions{Parallel: 1}); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
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
	err = ipfs.Walk(t.Context(), m, []unixfs.CID{root, other}, func(c unixfs.CID, _ []byte) error { order = append(order, c); return nil })
	if err != nil {
		t.Fatal(err)
	}
	bytesRead := 0
	for i := 0; ; i++ {
		block, err := r.Next() // compares the digest
		if errors.Is(err, io.EOF) {
			if i != m.Len() {
				t.Errorf("%d blocks of %d", i, m.Len())
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
	if err := errors.Join(ipfs.WriteCAR(t.Context(), f, []unixfs.CID{root}, m, ipfs.CAROptions{}), f.Close()); err != nil {
		t.Fatal(err)
	}
	node := kubo.NewSwarm().Start(t, kubo.Options{})
	node.Run(t, "dag", "import", file)
	if _, pinned := node.Pins(t)[root.String()]; !pinned {
		t.Errorf("%s has not been pinned", root)
	}
	if !bytes.Equal(node.Cat(t, root.String()+"/parachains/db/sst"), ipfstest.Stream("sst", 3*unixfs.LeafSize)) {
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
	if err := ipfs.Walk(t.Context(), m, []unixfs.CID{root}, func(c unixfs.CID, _ []byte) error { order = append(order, c); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 5, len(order) / 2, len(order) - 1} {
		block := m.Remove(order[i])
		if err := ipfs.WriteCAR(t.Context(), io.Discard, []unixfs.CID{root}, m, ipfs.CAROptions{}); !errors.Is(err, ipfs.ErrNotFound) {
			t.Errorf("without block %d: %v", i, err)
		}
		m.Put(order[i], block)
	}
	for _, size := range []int{0, 100, 1 << 20, 3 << 20} {
		if err := ipfs.WriteCAR(t.Context(), &limited{size}, []unixfs.CID{root}, m, ipfs.CAROptions{}); !errors.Is(err, errFull) {
			t.Errorf("full after %d bytes: %v", size, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := ipfs.WriteCAR(ctx, io.Discard, []unixfs.CID{root}, m, ipfs.CAROptions{Written: func(int) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	strange := unixfs.CID{Codec: unixfs.DagPB, Digest: manifest.Sum([]byte("x"))}
	m.Put(strange, []byte("x"))
	if err := ipfs.WriteCAR(t.Context(), io.Discard, []unixfs.CID{strange}, m, ipfs.CAROptions{}); err == nil {
		t.Error("a block that cannot be parsed is no error")
	}
}

// TestLeftOut: what is left out is not even read.
func TestLeftOut(t *testing.T) {
	m := ipfstest.NewMemory()
	out := m.File(ipfstest.Stream("out", 2*unixfs.LeafSize))
	in := m.File(ipfstest.Stream("in", 2*unixfs.LeafSize))
	root, err := unixfs.Directory([]unixfs.Entry{{Name: "a", Link: out}, {Name: "b", Link: in}}, m.Put)
	if err != nil {
		t.Fatal(err)
	}
	m.Remove(out.CID)
	blocks := 0
	err = ipfs.WriteCAR(t.Context(), io.Discard, []unixfs.CID{root.CID}, m, ipfs.CAROptions{
		LeftOut: func(c unixfs.CID) bool { return c == out.CID }, Written: func(int) { blocks++ },
	})
	if err != nil || blocks != 4 {
		t.Errorf("%d blocks, want the root, the other file and its leaves; %v", blocks, err)
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
	for c, good := range map[string]bool{
		"bafybeigvnplpwioncrrnj72ssj567wetaoe6nzlesxvt56geid2mk6lj3u": true,
		"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku": true,
		"QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR":              false, // version 0
		"bafyreibtj4jh7pwwdqvqf2qwbqzvlpuqzsgkhzbjgnmuwaqlsw7y5p3c6i": false, // dag-cbor
		"bafkqac3imvwgy3zao5xxe3de":                                   false, // identity
	} {
		hash := cid.MustParse(c).Bytes()
		link := append([]byte{0x0a, byte(len(hash))}, hash...)
		link = append(link, 0x12, 1, 'n', 0x18, 77)
		block := append([]byte{0x12, byte(len(link))}, link...)
		links, err := ipfs.Links(unixfs.CID{Codec: unixfs.DagPB, Digest: manifest.Sum(block)}, block)
		if good != (err == nil) {
			t.Errorf("%s: %v, %v", c, links, err)
		}
		if good && (len(links) != 1 || links[0].String() != c || links[0].Name != "n" || links[0].Total != 77) {
			t.Errorf("%s: %v", c, links)
		}
	}
}
