package unixfs

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/qsync/qsync/manifest"
)

// trees makes nodes of all kinds.
func trees(tell Tell) error {
	many := make([]Entry, 5000) // a HAMT
	for i := range many {
		many[i] = Entry{fmt.Sprintf("%06d.sst", i), File(3, leaves([]byte{byte(i), byte(i >> 8), 0}), tell)}
	}
	if _, err := Directory(many, tell); err != nil {
		return err
	}
	if _, err := Directory(nil, tell); err != nil {
		return err
	}
	File(1<<40, make([]byte, 1<<20*manifest.DigestSize), tell) // a tree of two levels
	_, err := Directory([]Entry{{"a name with spaces", File(0, nil, tell)}}, tell)
	return err
}

// TestParseNode: what is parsed is what was written.
func TestParseNode(t *testing.T) {
	n := 0
	err := trees(func(c CID, block []byte) {
		n++
		links, data, err := ParseNode(block)
		if err != nil {
			t.Fatal(err)
		}
		again := node(links, data, nil)
		if again.CID != c {
			t.Fatalf("node %d of %d links is %s, written again %s", n, len(links), c, again.CID)
		}
	})
	if err != nil || n < 1000 {
		t.Errorf("%d nodes, %v", n, err)
	}
	want := []Entry{{"x", Link{CID: CID{Raw, manifest.Sum([]byte("x"))}, Total: 1}}}
	root, err := Directory([]Entry{{"x", File(1, leaves([]byte("x")), nil)}}, func(_ CID, block []byte) {
		got, data, err := ParseNode(block)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil || !bytes.Equal(data, []byte{8, 1}) {
			t.Errorf("data %x, %v (-want +got):\n%s", data, err, diff)
		}
	})
	if err != nil || root.Total < 30 {
		t.Errorf("%+v, %v", root, err)
	}
}

// FuzzParseNode: whatever is taken is written in one form only.
func FuzzParseNode(f *testing.F) {
	n := 0
	err := trees(func(_ CID, block []byte) {
		if n++; n < 20 && len(block) < 4096 {
			f.Add(block)
		}
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{0x0a, 0x00})
	f.Add([]byte{0x12, 0x02, 0x0a, 0x00})
	f.Fuzz(func(t *testing.T, block []byte) {
		links, data, err := ParseNode(block)
		if err != nil || data == nil {
			return
		}
		var again []byte
		node(links, data, func(_ CID, b []byte) { again = b })
		if !bytes.Equal(again, block) {
			t.Errorf("%x is written as %x", block, again)
		}
	})
}
