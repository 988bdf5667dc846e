package ipfs

import (
	"fmt"

	merkledag "github.com/ipfs/boxo/ipld/merkledag/pb"
	ufs "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
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
	var node merkledag.PBNode
	if err := proto.Unmarshal(block, &node); err != nil {
		return bad(err)
	}
	var data ufs.Data
	if err := proto.Unmarshal(node.Data, &data); err != nil {
		return bad(err)
	}
	n := &treeNode{kind: data.GetType(), data: data.Data, size: int64(data.GetFilesize()), block: int64(len(block))}
	if n.kind == ufs.Data_File && len(data.Blocksizes) != len(node.Links) {
		return bad(fmt.Errorf("a file with %d sizes and %d links", len(data.Blocksizes), len(node.Links)))
	}
	for i, l := range node.Links {
		link := treeLink{name: l.GetName(), total: int64(l.GetTsize())}
		_, theirs, err := cid.CidFromBytes(l.Hash)
		if err != nil {
			return bad(err)
		}
		var ok bool
		if link.CID, ok = address(theirs); !ok {
			return bad(fmt.Errorf("a link to %s", theirs))
		}
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
