package publish

import (
	"context"
	"fmt"

	"github.com/qsync/qsync/manifest"
)

func (p *Publisher) head(channel string) *pointer[*manifest.Head] {
	return &pointer[*manifest.Head]{
		key:      manifest.HeadKey(channel),
		swapped:  p.swapped,
		name:     channel,
		open:     func(note []byte) (*manifest.Head, error) { return p.Policy.OpenHead(note, channel, p.now()) },
		sequence: func(h *manifest.Head) int64 { return h.Sequence },
		lacks: func(ctx context.Context, t Target, h *manifest.Head) (bool, error) {
			if _, files := filesOf(t); !files {
				return false, nil
			}
			holds, err := holdsVersion(ctx, t, channel, h.Snapshots[0])
			return !holds, err
		},
	}
}

// levelHead loads the head of a channel from all targets and brings those that
// lag behind up to the newest one, objects first. Targets of files that do not
// hold its newest version stay behind. It returns nil if no target has a head.
func (p *Publisher) levelHead(ctx context.Context, channel string) (*manifest.Head, error) {
	k := p.head(channel)
	all, newest, err := k.loadAll(ctx, p.Targets)
	if err != nil {
		return nil, err
	}
	to := all[newest]
	for i, t := range p.Targets {
		if all[i].sequence == to.sequence {
			continue
		}
		p.log().Warn("target lags behind", "target", t.String(), "key", manifest.HeadKey(channel),
			"sequence", all[i].sequence, "newest", to.sequence)
		if _, files := filesOf(t); !files {
			if err := p.replicate(ctx, p.Targets[newest], t, to.value, all[i].value); err != nil {
				return nil, fmt.Errorf("bring %s up to sequence %d of %s: %w", t, to.sequence, channel, err)
			}
		}
		if err := k.advance(ctx, t, to); err != nil {
			return nil, err
		}
	}
	return to.value, nil
}

// newestHead loads the newest head of a channel, nil if no target has one.
func (p *Publisher) newestHead(ctx context.Context, channel string) (*manifest.Head, error) {
	all, newest, err := p.head(channel).loadAll(ctx, p.Targets)
	if err != nil {
		return nil, err
	}
	return all[newest].value, nil
}

// rewriteHead signs the channel's head with the snapshots that edit returns.
func (p *Publisher) rewriteHead(ctx context.Context, channel string, edit func(present *manifest.Head) ([]manifest.Snapshot, error)) (*standing[*manifest.Head], error) {
	return rewrite(ctx, p, p.head(channel), func(present *manifest.Head, sequence int64) (*manifest.Head, error) {
		snapshots, err := edit(present)
		return &manifest.Head{Channel: channel, Sequence: sequence, Expires: p.expiry(), Snapshots: snapshots}, err
	})
}

// signAgain signs the head and the catalog of a channel that this process has locked.
func (p *Publisher) signAgain(ctx context.Context, channel string) error {
	head, err := p.levelHead(ctx, channel)
	if err != nil {
		return err
	}
	if head == nil {
		return fmt.Errorf("%w: nothing has been published yet", ErrNotFound)
	}
	newest, err := readManifest(ctx, p.Targets[0], channel, head.Snapshots[0])
	if err != nil {
		return err
	}
	_, err = p.rewriteHead(ctx, channel, func(present *manifest.Head) ([]manifest.Snapshot, error) {
		if present == nil {
			return nil, fmt.Errorf("%w: the head is gone from %s", ErrConflict, p.Targets[0])
		}
		return present.Snapshots, nil
	})
	if err != nil {
		return err
	}
	return p.refreshCatalog(ctx, newest.Chain.ID, channel)
}
