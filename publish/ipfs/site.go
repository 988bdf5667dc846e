package ipfs

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// Site is the tree that a channel's name on IPNS stands for. It is laid out like any
// other location, so that a gateway that serves it is a mirror: the small objects,
// and the index and segments of one version. Beside them, raw is its database.
//
// small are the small objects by their keys: catalog, head, manifests. Each fits
// into one block. The version of roots must have been added. The blocks of the
// channel's former site are served no more. It is for this process: after a restart it is
// made again.
func (v *View) Site(ctx context.Context, channel string, small map[string][]byte, roots *manifest.IPFS) (unixfs.CID, error) {
	blocks := map[manifest.Digest][]byte{}
	tell := func(c unixfs.CID, block []byte) { blocks[c.Digest] = block }
	links := map[string]unixfs.Link{}
	for key, body := range small {
		if len(body) > unixfs.LeafSize {
			return unixfs.CID{}, fmt.Errorf("%s of %d bytes is too large for a site", key, len(body))
		}
		d := manifest.Sum(body)
		links[key] = unixfs.File(int64(len(body)), d[:], nil)
		tell(links[key].CID, body)
	}
	raw, err := v.directory(ctx, roots.Raw)
	if err != nil {
		return unixfs.CID{}, err
	}
	links["raw"] = raw.link
	objects, err := v.directory(ctx, roots.Zstd)
	if err != nil {
		return unixfs.CID{}, err
	}
	maps.Copy(links, objects.entries) // indexes and segments
	paths := slices.Sorted(maps.Keys(links))
	root, err := unixfs.Tree(len(paths), func(i int) (string, unixfs.Link) { return paths[i], links[paths[i]] }, tell)
	if err != nil {
		return unixfs.CID{}, err
	}
	v.setSite(channel, blocks)
	return root.CID, nil
}

// directory is a node of the table that is a directory of few entries.
type directory struct {
	link    unixfs.Link
	entries map[string]unixfs.Link
}

func (v *View) directory(ctx context.Context, root string) (*directory, error) {
	c, err := unixfs.ParseCID(root)
	if err != nil {
		return nil, err
	}
	block, err := v.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	entries, _, err := unixfs.ParseNode(block)
	if err != nil {
		return nil, fmt.Errorf("parse block %s: %w", c, err)
	}
	d := &directory{unixfs.Link{CID: c, Total: int64(len(block))}, map[string]unixfs.Link{}}
	for _, e := range entries {
		d.link.Total += e.Total
		d.entries[e.Name] = e.Link
	}
	return d, nil
}

func (v *View) setSite(channel string, blocks map[manifest.Digest][]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sites[channel] = blocks
}
