package s3

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/publish"
)

// TestGivenUp: how long a request is tried, and which error says that it may yet succeed.
func TestGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		err         error
		unavailable bool
		most        time.Duration
	}{
		"no route":      {errors.New("dial tcp: lookup s3: temporary failure in name resolution"), true, 30 * time.Second},
		"broken store":  {minio.ErrorResponse{StatusCode: http.StatusInternalServerError, Code: "InternalError"}, true, 30 * time.Second},
		"busy store":    {minio.ErrorResponse{StatusCode: http.StatusServiceUnavailable, Code: "SlowDown"}, true, slowTime + 30*time.Second},
		"no permission": {minio.ErrorResponse{StatusCode: http.StatusForbidden, Code: "AccessDenied"}, false, 0},
		"no such file":  {minio.ErrorResponse{StatusCode: http.StatusNotFound, Code: "NoSuchKey"}, false, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, err := retry(t.Context(), newPace(), 0, func(context.Context) (int, error) { return 0, c.err })
			if got := errors.Is(err, publish.ErrUnavailable); got != c.unavailable || time.Since(start) > c.most {
				t.Errorf("%s: after %s: %v, unavailable is %t, want %t after %s", name, time.Since(start), err, got, c.unavailable, c.most)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := retry(ctx, newPace(), 0, func(context.Context) (int, error) { return 0, errors.New("connection refused") })
		if errors.Is(err, publish.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled: %v", err)
		}
	})
}
