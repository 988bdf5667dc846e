package ipfs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	wants "github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/go-cid"
	p2p "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	mh "github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// message is what a peer says, as far as it is of interest to one that only asks.
type message struct {
	blocks  []block
	missing []unixfs.CID // that it does not have
}

// block is one that a peer sends, with the address that follows from its bytes.
type block struct {
	unixfs.CID
	body []byte
}

// protocols are the versions of bitswap whose messages name blocks as ours are named.
var protocols = []protocol.ID{bsnet.ProtocolBitswap, bsnet.ProtocolBitswapOneOne}

// receive reads the messages of a stream that a peer has opened. The library's own reader
// copies each block once more, and to copy and hash is most of what a fetch costs.
func (n *Network) receive(s p2p.Stream) {
	p := n.find(s.Conn().RemotePeer())
	if p == nil { // nobody has asked it for anything: nothing is kept of what it sends
		_ = s.Reset()
		return
	}
	r := bufio.NewReaderSize(s, 4<<10)
	for {
		m, err := readMessage(r, s.Scope())
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = s.Reset()
			}
			break
		}
		p.received(m)
	}
	_ = s.Close()
}

var errMessage = errors.New("a message of bitswap is malformed")

// readMessage reads a message, whose memory is the stream's until it is whole: what a peer
// announces and does not send counts against its limit. Error: io.EOF at the end.
func readMessage(r *bufio.Reader, scope p2p.StreamScope) (*message, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size > p2p.MessageSizeMax {
		return nil, fmt.Errorf("%w: it has %d bytes", errMessage, size)
	}
	if err := scope.ReserveMemory(int(size), p2p.ReservationPriorityAlways); err != nil {
		return nil, err
	}
	defer scope.ReleaseMemory(int(size))
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return parseMessage(b)
}

// The fields of a message: https://specs.ipfs.tech/bitswap-protocol/
const (
	messagePayload   protowire.Number = 3
	messagePresences protowire.Number = 4

	payloadPrefix protowire.Number = 1 // of the CID, all but the digest
	payloadData   protowire.Number = 2

	presenceCID  protowire.Number = 1
	presenceType protowire.Number = 2
)

// parseMessage reads a message, whose blocks are parts of b.
func parseMessage(b []byte) (*message, error) {
	m := &message{}
	err := eachField(b, func(field protowire.Number, body []byte, _ uint64) error {
		switch field {
		case messagePayload:
			return m.addBlock(body)
		case messagePresences:
			return m.addPresence(body)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.hash()
	return m, nil
}

// hash finds out the digests of the blocks, of two at once.
func (m *message) hash() {
	for pair := range slices.Chunk(m.blocks, 2) {
		if len(pair) == 2 {
			pair[0].Digest, pair[1].Digest = manifest.SumPair(pair[0].body, pair[1].body)
		} else {
			pair[0].Digest = manifest.Sum(pair[0].body)
		}
	}
}

func (m *message) addBlock(b []byte) error {
	var prefix, data []byte
	err := eachField(b, func(field protowire.Number, body []byte, _ uint64) error {
		switch field {
		case payloadPrefix:
			prefix = body
		case payloadData:
			data = body
		}
		return nil
	})
	if err != nil {
		return err
	}
	p, err := cid.PrefixFromBytes(prefix)
	if err != nil {
		return fmt.Errorf("%w: %w", errMessage, err)
	}
	var c unixfs.CID // without a codec it is none that anybody has asked for
	if codec := unixfs.Codec(p.Codec); p.Version == 1 && p.MhType == mh.SHA2_256 && p.MhLength == manifest.DigestSize && uint64(codec) == p.Codec {
		c.Codec = codec
	}
	m.blocks = append(m.blocks, block{c, data})
	return nil
}

func (m *message) addPresence(b []byte) error {
	var name []byte
	var kind uint64
	err := eachField(b, func(field protowire.Number, body []byte, v uint64) error {
		switch field {
		case presenceCID:
			name = body
		case presenceType:
			kind = v
		}
		return nil
	})
	if c, ours := unixfs.CastCID(name); ours && kind == uint64(wants.Message_DontHave) {
		m.missing = append(m.missing, c)
	}
	return err
}

// eachField calls fn for the fields of a message that are bytes or numbers.
func eachField(b []byte, fn func(field protowire.Number, body []byte, v uint64) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMessage
		}
		b = b[n:]
		var body []byte
		var v uint64
		switch kind {
		case protowire.BytesType:
			body, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return errMessage
		}
		b = b[n:]
		if err := fn(field, body, v); err != nil {
			return err
		}
	}
	return nil
}
