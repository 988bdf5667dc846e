package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/minio/minio-go/v7"
)

// A request is tried so often, about 15 seconds in all: longer than a server
// takes to restart, and than a store asks to slow down before it has spread its
// load, and short enough for one that is gone.
const (
	maxTries   = 8
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
)

// An attempt may take half a minute, and as long as its bytes take on a slow
// line: a connection that hangs is given up.
const (
	attemptTimeout = 30 * time.Second
	slowestLine    = 64 << 10 // bytes per second
	maxBytes       = 5 << 30  // that S3 takes in one request
)

// retry calls attempt, which moves so many bytes, until it succeeds or its error
// would come again.
func retry[T any](ctx context.Context, bytes int64, attempt func(ctx context.Context) (T, error)) (T, error) {
	limit := attemptTimeout + time.Duration(min(bytes, maxBytes)/slowestLine)*time.Second
	value, err := backoff.Retry(ctx, func() (T, error) {
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		value, err := attempt(limited)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = fmt.Errorf("the store took longer than %s", limit) // the caller's time is not over
		}
		if err != nil && (ctx.Err() != nil || !passes(err)) {
			return value, backoff.Permanent(err)
		}
		return value, err
	}, backoff.WithMaxTries(maxTries), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: firstPause, MaxInterval: maxPause, Multiplier: 2, RandomizationFactor: 0.5,
	}))
	return value, explain(ctx, err)
}

// passingCodes are the errors of a store that pass whatever their status is.
var passingCodes = []string{
	"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "InternalError",
	"BadDigest", "XAmzContentSHA256Mismatch", // a byte was changed on the way
}

// passes reports whether an error may be gone in a moment.
func passes(err error) bool {
	if _, none := errors.AsType[*credentialsError](err); none {
		return false
	}
	answer, answered := answerOf(err)
	if !answered {
		return true // the connection broke
	}
	switch answer.StatusCode {
	case http.StatusConflict, // writers that meet
		http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return slices.Contains(passingCodes, answer.Code)
}

// answerOf returns what the store has answered, if it has.
func answerOf(err error) (minio.ErrorResponse, bool) {
	return errors.AsType[minio.ErrorResponse](err)
}
