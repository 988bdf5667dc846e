package ipfs

import (
	"fmt"

	ufs "github.com/ipfs/boxo/ipld/unixfs/pb"
	"google.golang.org/protobuf/proto"

	"github.com/qsync/qsync/manifest/unixfs"
)

// treeNode is a block of links.
type treeNode struct {
	links []treeLink
	kind  ufs.Data_DataType
	data  []byte // of a file, what lies before its children; of a HAMT, which slots it uses
	size  int64  // of the file
	block int64  // bytes of the block
}

type treeLink struct {
	name string
	unixfs.CID
	size  int64 // of the file behind it, if the node is a file's
	total int64 // of all blocks behind it
}

func parseNode(c unixfs.CID, block []byte) (*treeNode, error) {
	bad := func(err error) (*treeNode, error) { return nil, fmt.Errorf("block %s: %w", c, err) }
	links, raw, err := unixfs.ParseNode(block)
	if err != nil {
		return bad(err)
	}
	var data ufs.Data
	if err := proto.Unmarshal(raw, &data); err != nil {
		return bad(err)
	}
	n := &treeNode{kind: data.GetType(), data: data.Data, size: int64(data.GetFilesize()), block: int64(len(block))}
	if n.kind == ufs.Data_File && len(data.Blocksizes) != len(links) {
		return bad(fmt.Errorf("a file with %d sizes and %d links", len(data.Blocksizes), len(links)))
	}
	for i, l := range links {
		link := treeLink{name: l.Name, CID: l.CID, total: l.Total}
		if n.kind == ufs.Data_File {
			link.size = int64(data.Blocksizes[i])
		}
		n.links = append(n.links, link)
	}
	return n, nil
}

// shardPrefix is how long the name of a link is that leads to a part of a directory
// that is a HAMT. The names of its entries are longer: they begin with as much.
const shardPrefix = 2
