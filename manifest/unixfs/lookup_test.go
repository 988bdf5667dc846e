package unixfs

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/qsync/qsync/manifest"
)

// nodes are blocks by their CIDs.
type nodes map[CID][]byte

func (n nodes) tell(c CID, block []byte) { n[c] = block }

func (n nodes) get(c CID) ([]byte, error) {
	block, ok := n[c]
	if !ok {
		return nil, fmt.Errorf("no block %s", c)
	}
	return block, nil
}

func TestLookup(t *testing.T) {
	for _, n := range []int{1, 7, 20_000} {
		blocks := nodes{}
		entries := make([]Entry, n)
		for i := range entries {
			entries[i] = Entry{fmt.Sprintf("%06d.sst", i), File(3, leaves([]byte{byte(i), byte(i >> 8), 0}), nil)}
		}
		root, err := Directory(entries, blocks.tell)
		if err != nil {
			t.Fatal(err)
		}
		if (len(blocks) > 1) != (n > 5000) {
			t.Errorf("%d entries have %d nodes", n, len(blocks))
		}
		for _, e := range entries {
			if got, err := Lookup(root.CID, e.Name, blocks.get); err != nil || got.CID != e.CID {
				t.Fatalf("%d entries, %s: %s, %v; want %s", n, e.Name, got.CID, err, e.CID)
			}
		}
		for _, name := range []string{"", "0000001.sst", "3F", "3F000000.sst"} {
			if got, err := Lookup(root.CID, name, blocks.get); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%d entries, %q: %+v, %v", n, name, got, err)
			}
		}
	}
}

// TestLookupMalformed: what is no directory is an error, and not an empty one.
func TestLookupMalformed(t *testing.T) {
	blocks := nodes{}
	file := File(2<<20, make([]byte, 2*manifest.DigestSize), blocks.tell)
	leaf := CID{Raw, manifest.Sum([]byte("leaf"))}
	for _, root := range []CID{file.CID, leaf} {
		if got, err := Lookup(root, "x", blocks.get); !errors.Is(err, manifest.ErrMalformed) {
			t.Errorf("%s: %+v, %v", root, got, err)
		}
	}
}

func TestLeaf(t *testing.T) {
	for _, n := range []int64{1, 2, 1024, 1025, 1<<20 + 3} {
		digests := make([]byte, 0, n*manifest.DigestSize)
		for i := range n {
			d := manifest.Sum(fmt.Append(nil, i))
			digests = append(digests, d[:]...)
		}
		blocks := nodes{}
		size := (n-1)*LeafSize + 5
		root := File(size, digests, blocks.tell)
		for _, number := range []int64{0, 1, 1023, 1024, 1025, n / 2, n - 1} {
			if number >= n {
				continue
			}
			want := manifest.Digest(digests[number*manifest.DigestSize:][:manifest.DigestSize])
			if got, err := Leaf(root.CID, size, number, blocks.get); err != nil || got != (CID{Raw, want}) {
				t.Errorf("%d leaves, number %d: %s, %v", n, number, got, err)
			}
		}
		// The size may be anybody's: a wrong one is an error, and never another's leaf at the wrong depth.
		for _, wrong := range []int64{size * 1024, size + n*LeafSize, LeafSize} {
			if wrong/LeafSize == size/LeafSize || n == 1 && wrong == LeafSize {
				continue
			}
			if got, err := Leaf(root.CID, wrong, wrong/LeafSize-1, blocks.get); err == nil {
				t.Errorf("%d leaves, said to be %d bytes: %s", n, wrong, got)
			}
		}
	}
}
