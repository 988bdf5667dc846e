package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest"
)

// transfers is how many objects are under way to or from a target at once.
const transfers = 8

// replicate makes sure that a target holds all that a head names, and copies
// what is missing from one that does. What the target's own head names is there
// already. After a crash between two swaps nothing is missing; on a new target
// everything is.
func (p *Publisher) replicate(ctx context.Context, from, to Target, head, own *manifest.Head) error {
	if _, files := filesOf(from); files {
		return fmt.Errorf("only %s has its head, and no segments: delete %s there to go on with what the other targets have",
			from, manifest.HeadKey(head.Channel))
	}
	missing := map[object]int64{}
	for _, s := range head.Snapshots {
		if own != nil && slices.Contains(own.Snapshots, s) {
			continue
		}
		err := namedObjects(ctx, from, head.Channel, s, func(o object, size int64) { missing[o] = size })
		if err != nil {
			return err
		}
	}
	for _, k := range []kind{segmentObject, indexObject, manifestObject} {
		if err := p.copyMissing(ctx, from, to, k, missing); err != nil {
			return err
		}
	}
	return nil
}

func (p *Publisher) copyMissing(ctx context.Context, from, to Target, k kind, missing map[object]int64) error {
	err := to.List(ctx, prefixOf[k], func(have Object) error {
		if o, ok := parseObject(have.Key); ok && missing[o] == have.Size {
			delete(missing, o)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return eachObject(ctx, missing, k, func(ctx context.Context, o object, size int64) error {
		body, err := readObject(ctx, from, o, size)
		if err != nil {
			return err
		}
		return put(ctx, to, o, body)
	})
}

// eachObject calls fn for the objects of one kind, several at a time, until one
// fails.
func eachObject(parent context.Context, objects map[object]int64, k kind, fn func(ctx context.Context, o object, size int64) error) error {
	group, ctx := errgroup.WithContext(parent)
	group.SetLimit(transfers)
	for o, size := range objects {
		if ctx.Err() != nil {
			break
		}
		if o.kind == k {
			group.Go(func() error { return fn(ctx, o, size) })
		}
	}
	// Cancelled, the loop may have ended early with no call failing.
	return errors.Join(group.Wait(), parent.Err())
}
