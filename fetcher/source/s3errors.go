package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/cenkalti/backoff/v5"
	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/fetcher"
)

// Words of S3 for a refusal that come with another status than 403.
const (
	expiredToken = "ExpiredToken"
	unknownUser  = "XAdminUserNotFound" // versitygw's, with 404
)

// explain says why a request failed, and whether it is worth another try. A
// bucket refuses with the same 403 whoever has no permission and whoever did
// not offer to pay: the difference is asked for.
func (s *s3Source) explain(ctx context.Context, err error, offered bool) error {
	if missing := (*credentialsError)(nil); errors.As(err, &missing) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return backoff.Permanent(err)
	}
	answer := minio.ErrorResponse{}
	if !errors.As(err, &answer) {
		return redact(err)
	}
	if answer.StatusCode == 0 {
		return fmt.Errorf("the server's answer makes no sense: %.120q", answer.Message)
	}
	err = fmt.Errorf("server answered %s", statusText(answer))
	switch code := answer.StatusCode; {
	case answer.Code == minio.NoSuchBucket:
		return backoff.Permanent(fmt.Errorf("there is no bucket %s: %w", s.place.bucket, err))
	case answer.Code == minio.NoSuchKey:
		return fmt.Errorf("%w: %w", fetcher.ErrNotFound, err)
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= http.StatusInternalServerError:
		return err
	case code/100 == 3 || answer.Code == minio.AuthorizationHeaderMalformed:
		return backoff.Permanent(&regionError{answer.Region, err})
	case code == http.StatusForbidden, answer.Code == expiredToken, answer.Code == unknownUser:
		return backoff.Permanent(s.forbidden(ctx, answer, err, offered))
	}
	return backoff.Permanent(err)
}

// statusText is the status and S3's own word for it, which some servers repeat
// the status in.
func statusText(answer minio.ErrorResponse) string {
	status := strconv.Itoa(answer.StatusCode)
	if strings.HasPrefix(answer.Code, status) {
		return fmt.Sprintf("%.80q", answer.Code)
	}
	return fmt.Sprintf("%s %.80q", status, answer.Code)
}

func (s *s3Source) forbidden(ctx context.Context, answer minio.ErrorResponse, err error, offered bool) error {
	switch {
	case answer.Code == minio.RequestTimeTooSkewed:
		return fmt.Errorf("this machine's clock is wrong: %w", err)
	case answer.Code != minio.AccessDenied:
		return fmt.Errorf("the credentials are not accepted: %w", err)
	case s.place.anonymous:
		return fmt.Errorf("the bucket is not open to everybody, leave anonymous=true out of the URL: %w", err)
	case offered:
		return fmt.Errorf("the credentials lack the permission to read from bucket %s: %w", s.place.bucket, err)
	}
	switch s.payer(ctx) {
	case ownerPays:
		return fmt.Errorf("the credentials lack the permission to read from bucket %s: %w", s.place.bucket, err)
	case requesterPays:
		return &PayerError{Certain: true, Price: s.price, err: err}
	}
	return &PayerError{Price: s.price, err: err}
}

// regionError says that the bucket is elsewhere.
type regionError struct {
	region string // empty where the server did not tell
	err    error
}

func (e *regionError) Error() string {
	if e.region == "" {
		return fmt.Sprintf("the bucket is in another region: %v", e.err)
	}
	return fmt.Sprintf("the bucket is in region %.40q: %v", e.region, e.err)
}

func (e *regionError) Unwrap() error { return e.err }

// Hint says how to name the region.
func (e *regionError) Hint() string {
	if e.region == "" {
		return "add region=… to the URL, with the region of the bucket"
	}
	return fmt.Sprintf("add region=%.40s to the URL", e.region)
}
