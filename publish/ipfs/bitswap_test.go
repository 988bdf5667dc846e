package ipfs

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// TestBitswap: a peer gets all blocks of a tree, over each transport.
func TestBitswap(t *testing.T) {
	_, _, blocks := plant(t, someFiles())
	for name, listen := range map[string]string{"tcp": "/ip4/127.0.0.1/tcp/0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(name, func(t *testing.T) {
			o := options(t, blocks)
			o.Listen = []string{listen}
			n := start(t, o)
			c := newClient(t)
			c.connect(t, n)
			var want []cid.Cid
			for c := range blocks.blocks {
				want = append(want, libraryCID(c))
			}
			got, err := c.exchange(t).GetBlocks(t.Context(), want)
			must(t, err)
			for range want {
				select {
				case b, ok := <-got:
					if !ok {
						t.Fatal("the exchange has ended early")
					}
					ours, ok := address(b.Cid())
					if !ok || !bytes.Equal(b.RawData(), blocks.blocks[ours]) {
						t.Errorf("block %s is another one", b.Cid())
					}
				case <-time.After(patience):
					t.Fatal("not all blocks came")
				}
			}
			if s := n.Stats(); s.BlocksSent < int64(len(want)) || s.Damaged != 0 || s.Peers != 1 {
				t.Errorf("%+v, with %d blocks", s, len(want))
			}
		})
	}
}

// TestDamagedBlock: what is not what it should be raises the alarm and is not sent.
func TestDamagedBlock(t *testing.T) {
	_, _, blocks := plant(t, someFiles())
	good := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum([]byte("MANIFEST-000001\n"))}
	bad := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(random(1, unixfs.LeafSize))}
	errRot := errors.New("bits have rotted")
	blocks.broken[bad] = errRot
	alarms := make(chan unixfs.CID, 10)
	o := options(t, blocks)
	o.Damaged = func(c unixfs.CID, err error) {
		if !errors.Is(err, errRot) {
			t.Errorf("the alarm says %v", err)
		}
		alarms <- c
	}
	n := start(t, o)
	c := newClient(t)
	c.connect(t, n)
	got, err := c.exchange(t).GetBlocks(t.Context(), []cid.Cid{libraryCID(bad), libraryCID(good)})
	must(t, err)
	if b := <-got; b.Cid() != libraryCID(good) {
		t.Errorf("%s was sent", b.Cid())
	}
	select {
	case a := <-alarms:
		if a != bad {
			t.Errorf("alarm for %s", a)
		}
	case <-time.After(patience):
		t.Fatal("no alarm")
	}
	select {
	case b := <-got:
		t.Errorf("%s was sent", b.Cid())
	case <-time.After(300 * time.Millisecond):
	}
	if s := n.Stats(); s.Damaged == 0 {
		t.Error("it was not counted")
	}
}
