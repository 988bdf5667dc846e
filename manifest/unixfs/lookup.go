package unixfs

import (
	"fmt"
	"io/fs"

	"github.com/spaolacci/murmur3"

	"github.com/qsync/qsync/manifest"
)

// maxLevels is how many nodes of a HAMT lie above each other at most: one for each
// byte of a hash.
const maxLevels = 8

// Lookup finds an entry of a directory by its name. The nodes of the directory that
// it needs, of which root is the first, it asks get for. Error: [fs.ErrNotExist].
func Lookup(root CID, name string, get func(CID) ([]byte, error)) (Link, error) {
	hashed := hashedEntry{hash: murmur3.Sum64([]byte(name))}
	at := root
	for level := range maxLevels {
		links, kind, err := parseAt(at, get)
		if err != nil {
			return Link{}, err
		}
		wanted := name
		switch {
		case kind == typeDirectory && level == 0:
		case kind == typeHAMTShard:
			slot := fmt.Sprintf("%02X", hashed.slot(level))
			wanted = slot + name
			if i := find(links, slot); i >= 0 {
				at = links[i].CID
				continue
			}
		default:
			return Link{}, fmt.Errorf("%w: %s is no directory", manifest.ErrMalformed, at)
		}
		if i := find(links, wanted); i >= 0 {
			return links[i].Link, nil
		}
		break
	}
	return Link{}, fmt.Errorf("%q in %s: %w", name, root, fs.ErrNotExist)
}

func find(links []Entry, name string) int {
	for i := range links {
		if links[i].Name == name {
			return i
		}
	}
	return -1
}

// parseAt returns the links of a node, and of which kind it is.
func parseAt(c CID, get func(CID) ([]byte, error)) (links []Entry, kind uint64, err error) {
	if c.Codec != DagPB {
		return nil, 0, fmt.Errorf("%w: %s is no node", manifest.ErrMalformed, c)
	}
	block, err := get(c)
	if err != nil {
		return nil, 0, err
	}
	links, data, err := ParseNode(block)
	if err != nil {
		return nil, 0, fmt.Errorf("block %s: %w", c, err)
	}
	if len(data) < 2 || data[0] != fieldType<<3|wireVarint {
		return nil, 0, fmt.Errorf("%w: block %s has no kind", manifest.ErrMalformed, c)
	}
	return links, uint64(data[1]), nil
}

// Leaf finds a leaf of a file of size bytes by its number. The nodes of the file it
// asks get for.
func Leaf(root CID, size, number int64, get func(CID) ([]byte, error)) (CID, error) {
	leaves := (size + LeafSize - 1) / LeafSize
	below := int64(1) // leaves below a link of the node at hand
	for below*width < leaves {
		below *= width
	}
	at := root
	for ; leaves > 1 && below > 0; below /= width {
		links, kind, err := parseAt(at, get)
		if err != nil {
			return CID{}, err
		}
		i := number / below % width
		if kind != typeFile || i >= int64(len(links)) {
			return CID{}, fmt.Errorf("%w: %s is no node of a file of %d bytes that has leaf %d", manifest.ErrMalformed, at, size, number)
		}
		at = links[i].CID
	}
	if at.Codec != Raw {
		return CID{}, fmt.Errorf("%w: %s is no leaf of a file of %d bytes", manifest.ErrMalformed, at, size)
	}
	return at, nil
}

// FileSize is how many bytes the file has of which block is the root.
func FileSize(block []byte) (int64, error) {
	_, data, err := ParseNode(block)
	if err != nil {
		return 0, err
	}
	const prefix = 3
	if len(data) > prefix && data[0] == fieldType<<3|wireVarint && data[1] == typeFile && data[2] == fieldFileSize<<3|wireVarint {
		if size, n := uvarint(data[prefix:]); n > 0 && size <= 1<<62 {
			return int64(size), nil
		}
	}
	return 0, fmt.Errorf("%w: node of %d bytes: it is not the root of a file", manifest.ErrMalformed, len(block))
}
