package unixfs

import (
	"encoding/binary"

	"github.com/qsync/qsync/manifest"
)

// Link names a tree from within another one.
type Link struct {
	CID
	FileSize int64 // bytes of the file behind it; 0 for a directory
	Total    int64 // bytes of all its blocks, the Tsize of dag-pb
}

// Entry is a link with the name that a directory gives it.
type Entry struct {
	Name string
	Link
}

// Tell is told of each block that is not the bytes of a file. The block is not
// used after the return.
type Tell func(c CID, block []byte)

// The kinds of nodes, and the numbers of the fields of UnixFS's and dag-pb's messages.
const (
	typeDirectory = 1
	typeFile      = 2
	typeHAMTShard = 5

	fieldType       = 1
	fieldData       = 2
	fieldFileSize   = 3
	fieldBlockSizes = 4
	fieldHashType   = 5
	fieldFanout     = 6

	nodeData  = 1
	nodeLinks = 2
	linkHash  = 1
	linkName  = 2
	linkTsize = 3
)

// The wire types of protocol buffers.
const (
	wireVarint = 0
	wireBytes  = 2
)

func appendVarint(b []byte, field int, v uint64) []byte {
	b = binary.AppendUvarint(b, uint64(field)<<3|wireVarint)
	return binary.AppendUvarint(b, v)
}

func appendBytes[T []byte | string](b []byte, field int, v T) []byte {
	b = binary.AppendUvarint(b, uint64(field)<<3|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// appendLink appends a link of a dag-pb node: an empty name is there too.
func appendLink(b []byte, e *Entry) []byte {
	body := appendBytes(nil, linkHash, e.Bytes())
	body = appendBytes(body, linkName, e.Name)
	body = appendVarint(body, linkTsize, uint64(e.Total))
	return appendBytes(b, nodeLinks, body)
}

// node makes a block of links, which are in their order, and of UnixFS data.
func node(links []Entry, data []byte, tell Tell) Link {
	var block []byte
	var total, size int64
	for i := range links {
		block = appendLink(block, &links[i])
		total += links[i].Total
		size += links[i].FileSize
	}
	block = appendBytes(block, nodeData, data)
	c := CID{DagPB, manifest.Sum(block)}
	if tell != nil {
		tell(c, block)
	}
	return Link{c, size, total + int64(len(block))}
}
