package ipfstest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/ipfs"
)

// Published is a published tree whose newest version is on IPFS as well.
type Published struct {
	Manifest *manifest.Manifest
	Index    *manifest.Index
	View     *ipfs.View // for the caller to close
	Site     unixfs.CID
}

// Publish puts the newest version of a channel, published in the directory tree and
// signed with the key in a file, on IPFS: its manifest names the trees then, and a view
// whose tables are in state has their blocks.
func Publish(ctx context.Context, tree, channel, keyFile, state string) (p *Published, err error) {
	secret, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	signer, err := trust.NewSigner(strings.TrimSpace(string(secret)))
	if err != nil {
		return nil, err
	}
	target, err := dir.New(tree)
	if err != nil {
		return nil, err
	}
	p = &Published{}
	if p.View, err = ipfs.OpenView(state, target); err != nil {
		return nil, err
	}
	read := func(key string) (body []byte) {
		if err == nil {
			body, err = os.ReadFile(filepath.Join(tree, key))
		}
		return body
	}
	text, _, _ := strings.Cut(string(read(manifest.HeadKey(channel))), "\n\n") // the signatures follow
	head, err := manifest.ParseHead([]byte(text + "\n"))
	if err != nil {
		return nil, fmt.Errorf("head of %s: %w", channel, err)
	}
	if p.Manifest, err = manifest.ParseManifest(read(manifest.ManifestKey(head.Snapshots[0].Manifest))); err != nil {
		return nil, err
	}
	object := read(manifest.IndexKey(p.Manifest.Index.Digest))
	if p.Index, err = manifest.ReadIndex(bytes.NewReader(object), p.Manifest.Index.RawSize); err != nil {
		return nil, err
	}
	if p.Manifest.IPFS, err = p.View.Version(ctx, p.Index, p.Manifest.Index.Digest, object); err != nil {
		return nil, err
	}
	if err := p.View.Add(ctx, p.Index, p.Manifest.Index.Digest, object); err != nil {
		return nil, err
	}
	body, err := p.Manifest.Marshal()
	if err != nil {
		return nil, err
	}
	head.Sequence++
	head.Snapshots[0].Manifest, head.Snapshots[0].Size = manifest.Sum(body), int64(len(body))
	unsigned, err := head.Marshal()
	if err != nil {
		return nil, err
	}
	signed, err := trust.Sign(unsigned, signer)
	if err != nil {
		return nil, err
	}
	small := map[string][]byte{manifest.ManifestKey(manifest.Sum(body)): body, manifest.HeadKey(channel): signed}
	for key, body := range small {
		if err := os.WriteFile(filepath.Join(tree, key), body, 0o644); err != nil {
			return nil, err
		}
	}
	if small[manifest.CatalogKey] = read(manifest.CatalogKey); err != nil {
		return nil, err
	}
	p.Site, err = p.View.Site(ctx, channel, small, p.Manifest.IPFS)
	return p, err
}
