package publish

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// A file is put again for about an hour while its target is out of reach: the fork is
// held anyway, and a run that gives up has to send all of its files again.
const (
	outageTime       = time.Hour // from the first failure on
	firstOutagePause = 5 * time.Second
	maxOutagePause   = time.Minute
)

// throughOutage calls put until it succeeds, or fails with something else than
// ErrUnavailable. waiting is called once, before the first pause.
func throughOutage(ctx context.Context, put func() error, waiting func(err error)) error {
	var since time.Time // the first failure
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := put()
		switch {
		case err == nil:
		case ctx.Err() != nil || !errors.Is(err, ErrUnavailable) || !since.IsZero() && time.Since(since) > outageTime:
			err = backoff.Permanent(err)
		case since.IsZero():
			since = time.Now()
			waiting(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(0), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: firstOutagePause, MaxInterval: maxOutagePause, Multiplier: 2, RandomizationFactor: 0.5,
	}))
	return err
}
