package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/ipfs"
	"github.com/qsync/qsync/publish/ipfs/mirror"
)

// OpenView opens the trees on IPFS of what has been published to the first target.
func OpenView(a *config.Agent, p *publish.Publisher) (*ipfs.View, error) {
	view, err := ipfs.OpenView(filepath.Join(a.State, "ipfs"), p.Targets[0])
	if err != nil {
		return nil, fmt.Errorf("open the blocks on IPFS: %w", err)
	}
	return view, nil
}

// addVersion makes the blocks of a version part of the view.
func addVersion(ctx context.Context, view *ipfs.View, v *publish.Live) error {
	index := v.Manifest.Index.Digest
	if has, err := view.Has(index); has || err != nil {
		return err
	}
	x, object, err := v.Index(ctx)
	if err != nil {
		return err
	}
	return view.Add(ctx, x, index, object)
}

// trees are those of the channels of an agent, as they were last looked at.
type trees struct {
	publisher *publish.Publisher
	view      *ipfs.View
	seen      map[string]*publishedTrees // by channel
}

// publishedTrees is what is on IPFS of a channel.
type publishedTrees struct {
	notes        map[string][]byte // which it follows from
	announcement ipfs.Announcement
	versions     []mirror.Version // the newest first
	indexes      []manifest.Digest
}

func openTrees(a *config.Agent, p *publish.Publisher) (*trees, error) {
	view, err := OpenView(a, p)
	if err != nil {
		return nil, err
	}
	return &trees{p, view, map[string]*publishedTrees{}}, nil
}

// keepAfter is how long a table may be there before the version is public whose it is.
const keepAfter = time.Hour

// look looks at a channel again, and returns what is on IPFS of it, or nil if nothing is new.
func (t *trees) look(ctx context.Context, channel string) (*publishedTrees, error) {
	notes, err := t.publisher.Notes(ctx, channel)
	if err != nil {
		return nil, err
	}
	if before := t.seen[channel]; before != nil && maps.EqualFunc(before.notes, notes, slices.Equal) {
		return nil, nil
	}
	live, err := t.publisher.Live(ctx, channel)
	if err != nil {
		return nil, err
	}
	now := &publishedTrees{notes: notes, announcement: ipfs.Announcement{Channel: channel}}
	small := maps.Clone(notes)
	var newest *manifest.IPFS
	var roots []unixfs.CID
	for _, v := range live {
		small[manifest.ManifestKey(v.Snapshot.Manifest)] = v.ManifestObject
		if v.Manifest.IPFS == nil {
			continue // it was published when there was no node
		}
		newest = cmp.Or(newest, v.Manifest.IPFS)
		version, err := t.add(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("version %s of %s: %w", v.Snapshot.Version, channel, err)
		}
		now.versions, now.indexes = append(now.versions, version), append(now.indexes, v.Manifest.Index.Digest)
		roots = append(roots, version.Raw, version.Zstd)
	}
	if newest != nil {
		if now.announcement.Roots, err = ipfs.Roots(ctx, t.view, roots); err != nil {
			return nil, err
		}
		if now.announcement.Site, err = t.view.Site(ctx, channel, small, newest); err != nil {
			return nil, err
		}
	}
	t.seen[channel] = now
	return now, nil
}

// add makes the blocks of a version part of the view.
func (t *trees) add(ctx context.Context, v *publish.Live) (version mirror.Version, err error) {
	if err := addVersion(ctx, t.view, v); err != nil {
		return version, err
	}
	version = mirror.Version{Channel: v.Manifest.Channel, Version: v.Manifest.Version}
	if version.Raw, err = unixfs.ParseCID(v.Manifest.IPFS.Raw); err != nil {
		return version, err
	}
	version.Zstd, err = unixfs.ParseCID(v.Manifest.IPFS.Zstd)
	return version, err
}

// forget has a channel looked at anew.
func (t *trees) forget(channel string) { delete(t.seen, channel) }

// keep removes what is of no version any more. Channels that have not been looked at
// keep what they have.
func (t *trees) keep(channels []string) error {
	keep := map[manifest.Digest]bool{}
	for _, channel := range channels {
		seen := t.seen[channel]
		if seen == nil {
			return nil
		}
		for _, index := range seen.indexes {
			keep[index] = true
		}
	}
	return t.view.Keep(keep, time.Now().Add(-keepAfter))
}
