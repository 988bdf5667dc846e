package publish

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest"
)

// sampleSegments is how many of the new segments are read back from each target.
const sampleSegments = 8

// inspect looks at the targets as a stranger would, before the head names the
// snapshot: all that was put is there with its size, index and manifest are
// whole, and so is a random sample of the segments.
func (r *Run) inspect(parent context.Context, s manifest.Snapshot, index manifest.Ref) error {
	group, ctx := errgroup.WithContext(parent)
	group.SetLimit(transfers * len(r.p.Targets))
	named := map[object]int64{{indexObject, index.Digest}: index.Size, {manifestObject, s.Manifest}: s.Size}
	for _, t := range r.p.Targets {
		for o, size := range named {
			group.Go(func() error { return checkSize(ctx, t, o, size) })
			group.Go(func() error { return checkObject(ctx, t, o, size) })
		}
	}
	for _, t := range r.p.withSegments() {
		for digest, size := range r.sample() {
			group.Go(func() error { return checkObject(ctx, t, object{segmentObject, digest}, size) })
		}
		for digest, stored := range r.put {
			if ctx.Err() != nil {
				break
			}
			group.Go(func() error { return checkSize(ctx, t, object{segmentObject, digest}, stored.size) })
		}
	}
	// Cancelled, the loop may have ended early with no check failing.
	if err := errors.Join(group.Wait(), parent.Err()); err != nil {
		return fmt.Errorf("check what was stored: %w", err)
	}
	return nil
}

// sample picks new segments; the order of a map is random.
func (r *Run) sample() map[manifest.Digest]int64 {
	picked := map[manifest.Digest]int64{}
	for digest, stored := range r.put {
		if len(picked) == sampleSegments {
			break
		}
		if stored.sent {
			picked[digest] = stored.size
		}
	}
	return picked
}

func checkSize(ctx context.Context, t Target, o object, size int64) error {
	have, err := t.Stat(ctx, o.key())
	if err == nil && have.Size != size {
		err = fmt.Errorf("it has %d bytes, not %d", have.Size, size)
	}
	if err != nil {
		return fmt.Errorf("stat %s on %s: %w", o.key(), t, err)
	}
	return nil
}
