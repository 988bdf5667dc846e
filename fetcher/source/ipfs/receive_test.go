package ipfs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bitswap "github.com/ipfs/boxo/bitswap/message"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	p2p "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	mh "github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// theirMessage is a message as the library writes it: with a leaf, and a node that is
// missing.
func theirMessage(t testing.TB) (raw []byte, leaf, missing unixfs.CID) {
	t.Helper()
	body := []byte("a leaf")
	leaf = unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(body)}
	missing = unixfs.CID{Codec: unixfs.DagPB, Digest: manifest.Sum([]byte("missing"))}
	m := bitswap.New(true)
	b, err := blocks.NewBlockWithCid(body, libraryCID(leaf))
	if err != nil {
		t.Fatal(err)
	}
	m.AddBlock(b)
	m.AddDontHave(libraryCID(missing))
	m.AddHave(libraryCID(unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum([]byte("had"))}))
	m.SetPendingBytes(77)
	var out bytes.Buffer
	if err := m.ToNetV1(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), leaf, missing
}

// unlimited is a stream's memory without end, of which it says what is reserved.
type unlimited struct {
	p2p.StreamScope
	reserved int
}

func (u *unlimited) ReserveMemory(n int, _ uint8) error { u.reserved += n; return nil }
func (u *unlimited) ReleaseMemory(n int)                { u.reserved -= n }

func TestReadMessage(t *testing.T) {
	raw, leaf, missing := theirMessage(t)
	scope := &unlimited{}
	r := bufio.NewReader(bytes.NewReader(append(bytes.Clone(raw), raw...)))
	for range 2 {
		m, err := readMessage(r, scope)
		if err != nil {
			t.Fatal(err)
		}
		want := &message{blocks: []block{{leaf, []byte("a leaf")}}, missing: []unixfs.CID{missing}}
		if diff := cmp.Diff(want, m, cmp.AllowUnexported(message{}, block{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if _, err := readMessage(r, scope); !errors.Is(err, io.EOF) || scope.reserved != 0 {
		t.Errorf("%v, %d bytes are reserved; want the end", err, scope.reserved)
	}
	for n := 1; n < len(raw); n++ {
		if m, err := readMessage(bufio.NewReader(bytes.NewReader(raw[:n])), scope); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the first %d bytes of %d: %+v, %v", n, len(raw), m, err)
		}
	}
	if _, err := readMessage(bufio.NewReader(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0xf})), scope); !errors.Is(err, errMessage) {
		t.Errorf("4 GiB: %v", err)
	}
}

// TestParseBlocks: each block of a message is told by its own digest, and one that is
// named by another hash is none that was asked for.
func TestParseBlocks(t *testing.T) {
	bodies := [][]byte{random("a", unixfs.LeafSize), random("b", unixfs.LeafSize), []byte("c")}
	var raw []byte
	var want []block
	for _, body := range bodies {
		raw = appendBlock(raw, mh.SHA2_256, body)
		want = append(want, block{unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(body)}, body})
	}
	raw = appendBlock(raw, mh.DBL_SHA2_256, []byte("d"))
	m, err := parseMessage(raw)
	if err != nil || len(m.blocks) != 4 {
		t.Fatalf("%d blocks, %v", len(m.blocks), err)
	}
	if diff := cmp.Diff(want, m.blocks[:3], cmp.AllowUnexported(block{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c := m.blocks[3].CID; c.Codec == unixfs.Raw || c.Codec == unixfs.DagPB {
		t.Errorf("what another hash names is %s", c)
	}
}

// appendBlock appends the field of a message that is a block.
func appendBlock(b []byte, hash uint64, body []byte) []byte {
	prefix := cid.Prefix{Version: 1, Codec: uint64(unixfs.Raw), MhType: hash, MhLength: manifest.DigestSize}.Bytes()
	var payload []byte
	payload = protowire.AppendBytes(protowire.AppendTag(payload, payloadPrefix, protowire.BytesType), prefix)
	payload = protowire.AppendBytes(protowire.AppendTag(payload, payloadData, protowire.BytesType), body)
	return protowire.AppendBytes(protowire.AppendTag(b, messagePayload, protowire.BytesType), payload)
}

// TestReceiveFromStranger: who was asked for nothing is not listened to.
func TestReceiveFromStranger(t *testing.T) {
	n, stranger := join(t), newNode(t, loopback)
	must(t, n.host.Connect(t.Context(), peer.AddrInfo{ID: stranger.ID(), Addrs: stranger.addrs}))
	s, err := stranger.NewStream(t.Context(), n.host.ID(), protocols[0])
	must(t, err)
	must(t, s.SetDeadline(time.Now().Add(10*time.Second)))
	if _, err := s.Write(binary.AppendUvarint(nil, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, p2p.ErrReset) {
		t.Errorf("%v, want that the stream is reset", err)
	}
}

// FuzzParseMessage: blocks that the library finds are found.
func FuzzParseMessage(f *testing.F) {
	raw, _, _ := theirMessage(f)
	f.Add(raw[1:]) // its length is one byte
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		theirs, _, theirErr := bitswap.FromNet(bytes.NewReader(append(binary.AppendUvarint(nil, uint64(len(b))), b...)))
		if err != nil || theirErr != nil {
			return
		}
		found := map[unixfs.CID]bool{}
		for _, b := range m.blocks {
			found[b.CID] = true
		}
		for _, b := range theirs.Blocks() {
			if c, ours := unixfs.CastCID(b.Cid().Bytes()); ours && !found[c] {
				t.Errorf("%s is not found", c)
			}
		}
	})
}
