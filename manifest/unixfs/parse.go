package unixfs

import (
	"encoding/binary"
	"fmt"

	"github.com/qsync/qsync/manifest"
)

// ParseNode returns the links of a block of codec [DagPB], with their names, and its
// UnixFS data. It takes the canonical form only: links before data, and no field
// twice. FileSize of the links is not set.
func ParseNode(block []byte) (links []Entry, data []byte, err error) {
	bad := func(why string) ([]Entry, []byte, error) {
		return nil, nil, fmt.Errorf("%w: node of %d bytes: %s", manifest.ErrMalformed, len(block), why)
	}
	for rest := block; len(rest) > 0; {
		field, body, after, ok := cutField(rest)
		switch {
		case !ok:
			return bad("a field is cut off")
		case field == nodeLinks && data == nil:
			link, err := parseLink(body)
			if err != nil {
				return nil, nil, err
			}
			links = append(links, link)
		case field == nodeData && data == nil:
			if data = body; data == nil {
				data = []byte{}
			}
		default:
			return bad("its fields are not in their order")
		}
		rest = after
	}
	return links, data, nil
}

// parseLink reads what appendLink writes.
func parseLink(b []byte) (Entry, error) {
	field, hash, rest, ok := cutField(b)
	c, known := CastCID(hash)
	ok = ok && field == linkHash && known
	var name []byte
	if ok {
		field, name, rest, ok = cutField(rest)
		ok = ok && field == linkName
	}
	var size uint64
	if ok {
		key, n := uvarint(rest)
		ok = n > 0 && key == linkTsize<<3|wireVarint
		rest = rest[max(n, 0):]
		size, n = uvarint(rest)
		ok = ok && n == len(rest) && n > 0 && size <= 1<<62
	}
	if !ok {
		return Entry{}, fmt.Errorf("%w: a link of %d bytes is not of the profile", manifest.ErrMalformed, len(b))
	}
	return Entry{string(name), Link{CID: c, Total: int64(size)}}, nil
}

// uvarint reads a number in its shortest form. n is 0 or below if there is none.
func uvarint(b []byte) (v uint64, n int) {
	if v, n = binary.Uvarint(b); n > 1 && b[n-1] == 0 {
		return 0, 0
	}
	return v, n
}

// cutField cuts the first field, which has bytes, off a message.
func cutField(b []byte) (field int, body, rest []byte, ok bool) {
	key, n := uvarint(b)
	if n <= 0 || key&7 != wireBytes || key>>3 > 15 {
		return 0, nil, nil, false
	}
	length, m := uvarint(b[n:])
	if m <= 0 || length > uint64(len(b)-n-m) {
		return 0, nil, nil, false
	}
	b = b[n+m:]
	return int(key >> 3), b[:length], b[length:], true
}
