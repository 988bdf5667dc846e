package ipfs

import (
	"context"
	"slices"

	ufs "github.com/ipfs/boxo/ipld/unixfs/pb"

	"github.com/qsync/qsync/manifest/unixfs"
)

// Roots are what others may look for of trees: the roots of the trees, and those of the files
// in them, each once. Directories below and what files consist of are not among them.
func Roots(ctx context.Context, blocks Blocks, trees []unixfs.CID) ([]unixfs.CID, error) {
	roots := slices.Clone(trees)
	met := map[unixfs.CID]bool{}
	for _, root := range trees {
		met[root] = true
	}
	var files func(c unixfs.CID) error
	files = func(c unixfs.CID) error {
		block, err := blocks.Get(ctx, c)
		if err != nil {
			return err
		}
		n, err := parseNode(c, block)
		if err != nil {
			return err
		}
		if n.kind == ufs.Data_File {
			if !met[c] {
				met[c] = true
				roots = append(roots, c)
			}
			return nil
		}
		for _, l := range n.links {
			switch {
			case l.Codec != unixfs.Raw:
				err = files(l.CID)
			case !met[l.CID]:
				met[l.CID] = true
				roots = append(roots, l.CID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	for _, root := range trees {
		if err := files(root); err != nil {
			return nil, err
		}
	}
	return roots, nil
}
