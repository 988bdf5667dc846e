package publish

import (
	"context"
	"fmt"
	"slices"

	"github.com/qsync/qsync/manifest"
)

// catalogName stands for the catalog among the files of the state directory.
const catalogName = manifest.CatalogKey

func (p *Publisher) catalog() *pointer[*manifest.Catalog] {
	return &pointer[*manifest.Catalog]{
		key:      manifest.CatalogKey,
		swapped:  p.swapped,
		name:     catalogName,
		open:     func(note []byte) (*manifest.Catalog, error) { return p.Policy.OpenCatalog(note, p.now()) },
		sequence: func(c *manifest.Catalog) int64 { return c.Sequence },
	}
}

// refreshCatalog signs the catalog again with the channel in it. The channels
// of other agents stay as they are, and so does the order: the first channel of
// a chain is its default.
func (p *Publisher) refreshCatalog(ctx context.Context, chain, channel string) error {
	// Runs of other channels end at the same time, and share the sequence file.
	lock, err := p.openLock(catalogName)
	if err != nil {
		return err
	}
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return fmt.Errorf("lock the catalog: %w", err)
	}
	defer lock.Unlock()

	all, newest, err := p.catalog().loadAll(ctx, p.Targets)
	if err != nil {
		return err
	}
	// The first target may be new or have lost its catalog.
	if all[newest].note != nil {
		if err := p.catalog().advance(ctx, p.Targets[0], all[newest]); err != nil {
			return err
		}
	}
	_, err = rewrite(ctx, p, p.catalog(), func(present *manifest.Catalog, sequence int64) (*manifest.Catalog, error) {
		next := &manifest.Catalog{Publisher: p.Name, Sequence: sequence, Expires: p.expiry()}
		if present != nil {
			if present.Publisher != p.Name {
				return nil, fmt.Errorf("the catalog on %s is that of publisher %s, not of %s: check the configured publisher", p.Targets[0], present.Publisher, p.Name)
			}
			next.Channels = slices.Clone(present.Channels)
		}
		next.Channels = withChannel(next.Channels, manifest.CatalogChannel{Chain: chain, Channel: channel})
		return next, nil
	})
	return err
}

// finishCatalog lists a channel whose run ended between head and catalog.
func (p *Publisher) finishCatalog(ctx context.Context, chain, channel string) error {
	all, newest, err := p.catalog().loadAll(ctx, p.Targets)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.note == nil || s.sequence != all[newest].sequence || !slices.Contains(s.value.Channels, manifest.CatalogChannel{Chain: chain, Channel: channel}) {
			return p.refreshCatalog(ctx, chain, channel)
		}
	}
	return nil
}

func withChannel(channels []manifest.CatalogChannel, c manifest.CatalogChannel) []manifest.CatalogChannel {
	for i := range channels {
		if channels[i].Channel == c.Channel {
			channels[i] = c
			return channels
		}
	}
	return append(channels, c)
}
