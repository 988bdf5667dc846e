package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/qsync/qsync/manifest"
)

// DefaultGrace is how long the objects of a dropped version live on, and how
// old an object that nobody names must be to be deleted. It must be longer than
// the slowest restore and the slowest publication.
const DefaultGrace = 72 * time.Hour

// minGrace makes sure that what a prune drops is never deleted by the same
// prune, whatever the rounding of times.
const minGrace = time.Minute

// Keep says which versions of a channel stay. The newest one always does.
type Keep struct {
	Versions int // beyond this many a version is dropped; 0: no limit
	Days     int // older than this many a version is dropped; 0: no limit
}

// Pruned is what Prune did, or would do.
type Pruned struct {
	Dropped []Dropped
	Deleted []Deleted
}

// Dropped is a version that a head no longer names.
type Dropped struct {
	Channel string
	Version string
}

// Deleted is what was deleted from one target.
type Deleted struct {
	Target  string
	Objects []Object // Modified is not set
	Bytes   int64
}

// Prune drops the versions of the given channels that are not to be kept from
// their heads, and then deletes from all targets what no head of any channel
// names, nor a version that was dropped less than grace ago, and what is older
// than grace. Grace 0 means DefaultGrace. With dryRun it only reports.
//
// It fails closed: if any head, retired list, manifest or index of any channel
// on the targets cannot be read and verified, nothing is deleted. After an
// error the report holds what had been done.
func (p *Publisher) Prune(ctx context.Context, keep map[string]Keep, grace time.Duration, dryRun bool) (*Pruned, error) {
	report := &Pruned{}
	if err := p.check(); err != nil {
		return report, err
	}
	if grace == 0 {
		grace = DefaultGrace
	}
	if grace < minGrace {
		return report, fmt.Errorf("prune: a grace of %s would delete what others are fetching: want %s at least", grace, minGrace)
	}
	cutoff := p.now().Add(-grace)
	channels := slices.Sorted(maps.Keys(keep))
	for _, channel := range channels {
		lock, err := p.lock(channel)
		if err != nil {
			return report, err
		}
		defer lock.Unlock()
	}
	var err error
	if report.Dropped, err = p.dropAll(ctx, channels, keep, dryRun); err != nil {
		return report, err
	}
	s := &sweep{p: p, cutoff: cutoff, dryRun: dryRun}
	if report.Deleted, err = s.run(ctx); err != nil {
		return report, fmt.Errorf("prune: %w", err)
	}
	return report, nil
}

func (p *Publisher) dropAll(ctx context.Context, channels []string, keep map[string]Keep, dryRun bool) (all []Dropped, err error) {
	op := p.operation()
	defer op.invalidate(ctx)
	for _, channel := range channels {
		dropped, err := op.drop(ctx, channel, keep[channel], dryRun)
		for _, v := range dropped {
			all = append(all, Dropped{channel, v.Version})
		}
		if err != nil {
			return all, fmt.Errorf("prune %s: %w", channel, err)
		}
	}
	return all, nil
}

// drop takes versions out of the head of a channel and returns them, along with
// an error if a target behind the first one failed.
func (p *Publisher) drop(ctx context.Context, channel string, keep Keep, dryRun bool) (dropped []manifest.Snapshot, err error) {
	level := p.levelHead
	if dryRun {
		level = p.newestHead
	}
	head, err := level(ctx, channel)
	if err != nil || head == nil {
		return nil, err
	}
	if _, dropped = keep.split(head.Snapshots, p.now()); dryRun || len(dropped) == 0 {
		return dropped, nil
	}
	committed, err := p.rewriteHead(ctx, channel, func(present *manifest.Head) (kept []manifest.Snapshot, err error) {
		if present == nil {
			return nil, fmt.Errorf("%w: the head is gone from %s", ErrConflict, p.Targets[0])
		}
		kept, dropped = keep.split(present.Snapshots, p.now())
		// Before the head: if this process dies in between, no version is without
		// either protection.
		for _, t := range p.Targets {
			err = errors.Join(err, p.retire(ctx, t, channel, dropped))
		}
		return kept, err
	})
	if committed == nil {
		return nil, err
	}
	return dropped, err
}

// retire adds versions to the retired list of a target. One of files without a head
// has none of them: what it has of the channel may be somebody else's, and a list
// would make it ours.
func (p *Publisher) retire(ctx context.Context, t Target, channel string, dropped []manifest.Snapshot) error {
	if _, files := filesOf(t); files {
		if head, err := p.head(channel).load(ctx, t); err != nil || head.note == nil {
			return err
		}
	}
	return editRetired(ctx, t, channel, func(list []retired) []retired {
		return retire(list, dropped, p.now())
	})
}

// split divides the snapshots of a head, newest first.
func (k Keep) split(snapshots []manifest.Snapshot, now time.Time) (kept, dropped []manifest.Snapshot) {
	oldest := now.UTC().AddDate(0, 0, -k.Days).Format(manifest.VersionFormat)
	for i, s := range snapshots {
		tooMany := k.Versions > 0 && i >= k.Versions
		tooOld := k.Days > 0 && s.Version < oldest
		if i > 0 && (tooMany || tooOld) {
			dropped = append(dropped, s)
		} else {
			kept = append(kept, s)
		}
	}
	return kept, dropped
}
