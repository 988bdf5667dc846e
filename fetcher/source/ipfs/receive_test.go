package ipfs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	bitswap "github.com/ipfs/boxo/bitswap/message"
	blocks "github.com/ipfs/go-block-format"
	p2p "github.com/libp2p/go-libp2p/core/network"

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
