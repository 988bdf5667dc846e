package ipfs

import (
	"context"
	"encoding/binary"
	"fmt"

	ufs "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/spaolacci/murmur3"

	"github.com/qsync/qsync/manifest/unixfs"
)

// passed is a block on the way of a path.
type passed struct {
	unixfs.CID
	block []byte
}

// resolve goes from a root along the names of directories, and returns what they lead to
// and the blocks on the way, that excluded. Error: ErrNotFound if there is no such name.
func resolve(ctx context.Context, store *servedBlocks, root unixfs.CID, names []string) (to unixfs.CID, way []passed, err error) {
	to = root
	for _, name := range names {
		hash := binary.BigEndian.AppendUint64(nil, murmur3.Sum64([]byte(name)))
		for level := 0; ; level++ {
			if to.Codec != unixfs.DagPB {
				return to, way, fmt.Errorf("%w: %s has no entries", ErrNotFound, to)
			}
			block, err := store.get(ctx, to)
			if err != nil {
				return to, way, err
			}
			n, err := parseNode(to, block)
			if err != nil {
				return to, way, err
			}
			way = append(way, passed{to, block})
			link, deeper := n.entry(name, hash, level)
			if link == nil {
				return to, way, fmt.Errorf("%w: %s has no entry %q", ErrNotFound, to, name)
			}
			to = link.CID
			if !deeper {
				break
			}
		}
	}
	return to, way, nil
}

// entry is the link of a directory that leads to a name, or nearer to it.
func (n *treeNode) entry(name string, hash []byte, level int) (link *treeLink, deeper bool) {
	switch {
	case n.kind == ufs.Data_Directory:
		for i := range n.links {
			if n.links[i].name == name {
				return &n.links[i], false
			}
		}
	case n.kind == ufs.Data_HAMTShard && level < len(hash):
		slot := fmt.Sprintf("%02X", hash[level])
		for i := range n.links {
			switch n.links[i].name {
			case slot:
				return &n.links[i], true
			case slot + name:
				return &n.links[i], false
			}
		}
	}
	return nil, false
}
