package publish

import (
	"context"
	"fmt"
	"slices"

	"github.com/qsync/qsync/manifest"
)

// RenewUses has the live versions of a channel say what [Publisher.Uses] says now, of
// how their places are to be used. Each that says something else gets another manifest,
// of the same index; the head that names them is signed under the next sequence, and the
// manifests before stay for those who are reading them. It returns how many versions
// have changed: where there are none nothing is signed. Error: ErrNotFound if nothing
// has been published.
func (p *Publisher) RenewUses(ctx context.Context, channel string) (changed int, err error) {
	op := p.operation()
	defer op.invalidate(ctx)
	lock, err := op.lock(channel)
	if err != nil {
		return 0, err
	}
	defer lock.Unlock()
	for try := 1; ; try++ {
		n, err := op.renewUses(ctx, channel)
		changed += n
		if err != nil {
			return changed, fmt.Errorf("renew how the places of %s are to be used: %w", channel, err)
		}
		if n == 0 || try == maxSwaps {
			return changed, nil // another agent may have published meanwhile, hence again
		}
	}
}

func (p *Publisher) renewUses(ctx context.Context, channel string) (changed int, err error) {
	head, err := p.levelHead(ctx, channel)
	if err != nil {
		return 0, err
	}
	if head == nil {
		return 0, fmt.Errorf("%w: nothing has been published yet", ErrNotFound)
	}
	replaced := map[manifest.Snapshot]manifest.Snapshot{}
	var before []manifest.Snapshot
	for _, s := range head.Snapshots {
		next, err := p.replaceManifest(ctx, channel, s)
		if err != nil {
			return 0, fmt.Errorf("version %s: %w", s.Version, err)
		}
		if next != s {
			replaced[s], before = next, append(before, s)
		}
	}
	if len(before) == 0 {
		return 0, nil
	}
	committed, err := p.rewriteHead(ctx, channel, func(present *manifest.Head) ([]manifest.Snapshot, error) {
		if present == nil {
			return nil, fmt.Errorf("%w: the head is gone from %s", ErrConflict, p.Targets[0])
		}
		// Before the head, as with a version that is dropped: whoever has read the head
		// before asks for these manifests in a moment, or in the cache's time.
		for _, t := range p.Targets {
			if err := p.retire(ctx, t, channel, before); err != nil {
				return nil, err
			}
		}
		snapshots := slices.Clone(present.Snapshots)
		for i, s := range snapshots {
			if next, is := replaced[s]; is {
				snapshots[i] = next
			}
		}
		return snapshots, nil
	})
	if committed == nil {
		return 0, err
	}
	return len(before), err
}

// replaceManifest stores a manifest that says of its places what is to be said now, and
// returns how a head names it: as before, if that says so already.
func (p *Publisher) replaceManifest(ctx context.Context, channel string, s manifest.Snapshot) (next manifest.Snapshot, err error) {
	m, err := readManifest(ctx, p.Targets[0], channel, s)
	if err != nil {
		return s, err
	}
	if err := p.setUses(m); err != nil {
		return s, err
	}
	body, err := m.Marshal()
	if err != nil {
		return s, err
	}
	next = manifest.Snapshot{Version: s.Version, Manifest: manifest.Sum(body), Size: int64(len(body))}
	if next == s {
		return s, nil
	}
	for _, t := range p.Targets {
		if err := p.putBeside(ctx, t, s, next, body); err != nil {
			return s, err
		}
	}
	return next, nil
}

// putBeside stores a manifest where the one that it replaces is, and sees that it is
// there. On a target of files a version that was never put has none.
func (p *Publisher) putBeside(ctx context.Context, t Target, s, next manifest.Snapshot, body []byte) error {
	if never, err := neverPut(ctx, t, nil, s); never || err != nil {
		return err
	}
	o := object{manifestObject, next.Manifest}
	if err := put(ctx, t, o, body); err != nil {
		return err
	}
	return checkObject(ctx, t, o, next.Size)
}

// setUses sets how the places of a manifest are to be used.
func (p *Publisher) setUses(m *manifest.Manifest) error {
	if p.Uses == nil {
		return nil
	}
	return p.Uses(m)
}
