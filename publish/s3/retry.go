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

	"github.com/qsync/qsync/publish"
)

// A request is tried so often, about 15 seconds in all: longer than a server
// takes to restart, and short enough for one that is gone. A store that asks to slow
// down is there, and gets more time to spread its load.
const (
	maxTries   = 8
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
	slowTime   = 3 * time.Minute
)

// An attempt may take half a minute, and as long as its bytes take on a slow line, or
// in a store that copies many objects at a time: a connection that hangs is given up.
const (
	attemptTimeout = 30 * time.Second
	slowestLine    = 64 << 10  // bytes per second
	slowestCopy    = 512 << 10 // bytes per second
	maxBytes       = 5 << 30   // that S3 takes in one request
)

// retry calls attempt, which moves so many bytes, at the pace of its prefix, until
// it succeeds or its error would come again.
func retry[T any](ctx context.Context, p *pace, bytes int64, attempt func(ctx context.Context) (T, error)) (T, error) {
	return retryWithin(ctx, p, timeFor(bytes, slowestLine), attempt)
}

// retryCopy is retry for bytes that the store moves within itself.
func retryCopy[T any](ctx context.Context, p *pace, bytes int64, attempt func(ctx context.Context) (T, error)) (T, error) {
	return retryWithin(ctx, p, timeFor(bytes, slowestCopy), attempt)
}

// timeFor is the limit of an attempt. How many bytes are asked for may be a stranger's word.
func timeFor(bytes, perSecond int64) time.Duration {
	return attemptTimeout + time.Duration(min(bytes, maxBytes)/perSecond)*time.Second
}

func retryWithin[T any](ctx context.Context, p *pace, limit time.Duration, attempt func(ctx context.Context) (T, error)) (T, error) {
	tries := 0              // that the store has not been busy for
	var slowSince time.Time // zero while it is not
	value, err := backoff.Retry(ctx, func() (value T, err error) {
		if err := p.wait(ctx); err != nil {
			return value, backoff.Permanent(err)
		}
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		value, err = attempt(limited)
		slow := asksToSlowDown(err)
		p.answered(slow)
		if !slow {
			tries++
		} else if slowSince.IsZero() {
			slowSince = time.Now()
		}
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = fmt.Errorf("the store took longer than %s", limit) // the caller's time is not over
		}
		switch {
		case err == nil:
		case ctx.Err() != nil || !passes(err):
			err = backoff.Permanent(err)
		case tries == maxTries || slow && time.Since(slowSince) > slowTime:
			err = backoff.Permanent(fmt.Errorf("%w: %w", publish.ErrUnavailable, err))
		}
		return value, err
	}, backoff.WithMaxElapsedTime(0), backoff.WithBackOff(&backoff.ExponentialBackOff{
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

// asksToSlowDown reports whether the store has more to do than it can.
func asksToSlowDown(err error) bool {
	answer, answered := answerOf(err)
	return answered && (answer.StatusCode == http.StatusTooManyRequests || answer.Code == "SlowDown" || answer.Code == "ServiceUnavailable")
}

// answerOf returns what the store has answered, if it has.
func answerOf(err error) (minio.ErrorResponse, bool) {
	return errors.AsType[minio.ErrorResponse](err)
}
