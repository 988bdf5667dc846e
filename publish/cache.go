package publish

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// Cache is what stands between a target and those who read from it: a CDN. It is
// told when mutable objects have changed; immutable ones it may keep for ever.
type Cache interface {
	// Invalidate makes the cache forget the objects at these keys. When it returns
	// nil, everybody who asks from then on gets what the target holds. It may take
	// minutes, and it may be repeated; keys is not changed.
	Invalidate(ctx context.Context, keys []string) error
	// String names the cache for people, without credentials.
	String() string
}

// operation is the publisher for the length of one operation, whose swaps it
// notes.
func (p *Publisher) operation() *Publisher {
	op := *p
	op.swapped = map[string]bool{}
	return &op
}

// invalidate tells the caches once what the operation has swapped since the last
// time, on all targets, and reports whether all of them know. What is published is
// published, whatever they say: without them it is seen when CacheShortly is over.
func (p *Publisher) invalidate(ctx context.Context) (told bool) {
	all := slices.Sorted(maps.Keys(p.swapped))
	clear(p.swapped)
	told = true
	for keys := range slices.Chunk(all, maxInvalidated) {
		errs := make([]error, len(p.Caches))
		var group sync.WaitGroup
		for i, c := range p.Caches {
			group.Go(func() {
				err := c.Invalidate(ctx, keys)
				if errs[i] = err; err != nil {
					about := []any{"cache", c.String(), "keys", keys, "error", err}
					if h := (interface{ Hint() string })(nil); errors.As(err, &h) {
						about = append(about, "hint", h.Hint())
					}
					p.log().Warn("published, but a cache may show what was there before for half a minute", about...)
				}
			})
		}
		group.Wait()
		told = told && errors.Join(errs...) == nil
	}
	return told
}
