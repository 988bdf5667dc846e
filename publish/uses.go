package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/qsync/qsync/manifest"
)

// RenewUses has the live versions of a channel say what [Publisher.Uses] says now, of
// how their places are to be used. Each that says something else gets another manifest,
// of the same index; the head that names them is signed under the next sequence, and the
// manifests before stay for those who are reading them. It returns how many versions
// have changed: where there are none, or nothing has been published, nothing is signed. A
// version whose manifest no target has whole keeps the others from nothing; it is an error
// when they are done.
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
		return 0, nil
	}
	var unreadable error
	replaced := map[manifest.Snapshot]manifest.Snapshot{}
	var before []manifest.Snapshot
	for _, s := range head.Snapshots {
		m, err := p.readLive(ctx, channel, s)
		if err != nil {
			unreadable = errors.Join(unreadable, fmt.Errorf("version %s: %w", s.Version, err))
			continue
		}
		next, err := p.replaceManifest(ctx, s, m)
		if err != nil {
			return 0, fmt.Errorf("version %s: %w", s.Version, err)
		}
		if next != s {
			replaced[s], before = next, append(before, s)
		}
	}
	if len(before) == 0 {
		return 0, unreadable
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
		return 0, errors.Join(err, unreadable)
	}
	return len(before), errors.Join(err, unreadable)
}

// readLive reads the manifest of a version from the first target that has it whole.
func (p *Publisher) readLive(ctx context.Context, channel string, s manifest.Snapshot) (*manifest.Manifest, error) {
	var all []error
	for _, t := range p.Targets {
		m, err := readManifest(ctx, t, channel, s)
		if err == nil {
			return m, nil
		}
		all = append(all, err)
	}
	return nil, errors.Join(all...)
}

// replaceManifest stores the manifest of a version with what it is to say now of its
// places, and returns how a head names it: as before, if it says so already.
func (p *Publisher) replaceManifest(ctx context.Context, s manifest.Snapshot, m *manifest.Manifest) (next manifest.Snapshot, err error) {
	if p.Uses != nil {
		if err := p.Uses(m); err != nil {
			return s, err
		}
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

// setUses sets how the places of a new version are to be used. While that cannot be found
// out it is as with the version before: a record that cannot be read keeps nobody from
// publishing.
func (r *Run) setUses(m *manifest.Manifest) {
	if r.p.Uses == nil {
		return
	}
	err := r.p.Uses(m)
	if err == nil {
		return
	}
	r.p.log().Error("how places are to be used is not known, and stays as it is", "error", err)
	before := r.manifest
	if before == nil {
		before = &manifest.Manifest{}
	}
	for i := range m.Locations {
		m.Locations[i].Use = before.UseOf(m.Locations[i].URL)
	}
	if m.IPFS != nil && before.IPFS != nil {
		m.IPFS.Use = before.IPFS.Use
	}
}
