package cloudfront

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	"github.com/cenkalti/backoff/v5"
)

// CloudFront takes its time, and does not like to be asked often.
const (
	firstPause     = time.Second
	maxPause       = 10 * time.Second
	attemptTimeout = 20 * time.Second
	maxTime        = 5 * time.Minute // for a caller that has set no limit
)

// transient knows which errors of AWS may be gone in a moment.
var transient = awsretry.IsErrorRetryables(awsretry.DefaultRetryables)

// retry calls attempt until it succeeds, its error would come again, or ctx ends;
// then the error is the last one all the same.
func retry[T any](ctx context.Context, attempt func(context.Context) (T, error)) (T, error) {
	var last error
	value, err := backoff.Retry(ctx, func() (T, error) {
		limited, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		value, err := attempt(limited)
		switch {
		case err == nil:
			return value, nil
		case limited.Err() != nil && ctx.Err() == nil:
			err = fmt.Errorf("no answer within %s", attemptTimeout)
		case ctx.Err() != nil:
			// Nothing new is said by what was cut off.
		case !passes(err):
			return value, backoff.Permanent(err)
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		return value, err
	}, backoff.WithMaxElapsedTime(maxTime), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: firstPause, MaxInterval: maxPause, Multiplier: 1.5, RandomizationFactor: 0.3,
	}))
	if ended := ctx.Err(); err != nil && ended != nil && !errors.Is(last, ended) {
		return value, fmt.Errorf("%w: %w", ended, explain(last))
	}
	return value, explain(err)
}

// passes reports whether an error may be gone in a moment.
func passes(err error) bool {
	if errors.Is(err, errInProgress) {
		return true
	}
	if full := (*types.TooManyInvalidationsInProgress)(nil); errors.As(err, &full) {
		return true // others' are under way, and end
	}
	if none := (*CredentialsError)(nil); errors.As(err, &none) {
		return false
	}
	return transient.IsErrorRetryable(err) == aws.TrueTernary
}
