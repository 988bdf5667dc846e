package fetcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// reply is what a source answered.
type reply struct {
	source Source
	body   []byte
	err    error
}

// askTime is how long a source may take for a small object, with all its tries: what
// the others have answered is not to wait for one that dribbles.
const askTime = time.Minute

var errSlow = errors.New("it takes too long")

// ask gets one object from every source at once.
func (r *Repository) ask(ctx context.Context, key string, limit int64) []reply {
	replies := make([]reply, len(r.Sources))
	var wg sync.WaitGroup
	for i, s := range r.Sources {
		wg.Go(func() {
			body, err := within(ctx, askTime, func(ctx context.Context) ([]byte, error) { return getRetrying(ctx, s, key, limit) })
			replies[i] = reply{s, body, err}
		})
	}
	wg.Wait()
	return replies
}

// within calls get with so much time, and says so if that was not enough.
func within(ctx context.Context, most time.Duration, get func(context.Context) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, most, errSlow)
	defer cancel()
	body, err := get(ctx)
	if err != nil && context.Cause(ctx) == errSlow { //nolint:errorlint // it is that very one
		err = fmt.Errorf("%w: no answer within %s", errSlow, most)
	}
	return body, err
}

// smallObjectTries is how often a small object is asked for before a source is
// passed over.
const smallObjectTries = 3

// getter is what a small object is got from: a [Source] or an [UnsignedTree].
type getter interface {
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
}

func getRetrying(ctx context.Context, s getter, key string, limit int64) ([]byte, error) {
	return backoff.Retry(ctx, func() ([]byte, error) {
		body, err := s.Get(ctx, key, limit)
		if errors.Is(err, ErrNotFound) {
			return nil, backoff.Permanent(err)
		}
		return body, err
	}, smallObjectRetries()...)
}

func smallObjectRetries() []backoff.RetryOption {
	return []backoff.RetryOption{backoff.WithMaxTries(smallObjectTries), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 200 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5, MaxInterval: 2 * time.Second,
	})}
}
