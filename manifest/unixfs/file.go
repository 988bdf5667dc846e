// Package unixfs computes the content addresses that IPFS gives to files and
// directories, from the digests of their chunks alone.
//
// The profile is unixfs-v1-2025: CIDs of version 1, SHA-256, leaves of 1 MiB of
// raw bytes, 1,024 links to a node of a file, directories of more than 256 KiB as
// HAMT with 256 links. A leaf of the profile is a chunk of ours, so nothing is read
// or hashed again but the nodes above, a thousandth of the data.
//
// Everybody who adds the same files with that profile gets the same addresses.
// The specification is https://specs.ipfs.tech/unixfs/.
package unixfs

import (
	"github.com/qsync/qsync/manifest"
)

const (
	// LeafSize is how many bytes of a file a leaf has; the last one has the rest.
	LeafSize = manifest.ChunkSize
	// width is the most links of a node of a file.
	width = 1024
)

// File is the tree of a file with the given leaves: their digests, one behind the
// other.
func File(size int64, leaves []byte, tell Tell) Link {
	if size == 0 {
		return Link{CID: CID{Raw, manifest.Sum(nil)}}
	}
	level := make([]Entry, 0, len(leaves)/manifest.DigestSize)
	for at := int64(0); at < size; at += LeafSize {
		n := min(LeafSize, size-at)
		i := at / LeafSize * manifest.DigestSize
		level = append(level, Entry{Link: Link{CID{Raw, manifest.Digest(leaves[i : i+manifest.DigestSize])}, n, n}})
	}
	for len(level) > 1 {
		var above []Entry
		for at := 0; at < len(level); at += width {
			above = append(above, Entry{Link: fileNode(level[at:min(at+width, len(level))], tell)})
		}
		level = above
	}
	return level[0].Link
}

func fileNode(children []Entry, tell Tell) Link {
	var size int64
	for i := range children {
		size += children[i].FileSize
	}
	data := appendVarint(nil, fieldType, typeFile)
	data = appendVarint(data, fieldFileSize, uint64(size))
	for i := range children {
		data = appendVarint(data, fieldBlockSizes, uint64(children[i].FileSize))
	}
	return node(children, data, tell)
}
