package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// presignedTime is how long a request may be on its way.
const presignedTime = 5 * time.Minute

// swapBare is a Swap that gives the ETag without quotes. Ceph compares what stands
// in If-Match letter by letter with the ETag that it keeps, which has none, so it
// refuses every right request; minio-go always writes quotes. A store that knows
// quotes refuses this one, or takes it for the same.
func (t *Target) swapBare(ctx context.Context, key, tag string, body []byte) error {
	sum := manifest.Sum(body)
	header := http.Header{
		"If-Match":              {tag},
		"Content-Type":          {publish.ContentType(key)},
		"Cache-Control":         {publish.CacheShortly},
		"X-Amz-Checksum-Sha256": {base64.StdEncoding.EncodeToString(sum[:])},
	}
	name := t.prefix + key
	tries := 0
	_, err := retry(ctx, t.pace(name), int64(len(body)), func(ctx context.Context) (struct{}, error) {
		tries++
		return struct{}{}, t.putPresigned(ctx, name, body, header)
	})
	if err != nil && !refusedCondition(err) {
		return err
	}
	// Whose tries were answered with what, the content tells; and a signature made
	// beforehand says nothing of the body, so it is compared in any case.
	now, _, loadErr := t.Load(ctx, key)
	switch {
	case loadErr != nil && !errors.Is(loadErr, publish.ErrNotFound):
		return fmt.Errorf("see whether the swap was applied: %w", loadErr)
	case loadErr == nil && bytes.Equal(now, body) && (err == nil || tries > 1):
		t.bareTags.Store(true)
		return nil
	}
	return fmt.Errorf("%w: %s was changed meanwhile", publish.ErrConflict, key)
}

func (t *Target) putPresigned(ctx context.Context, name string, body []byte, header http.Header) error {
	u, err := t.store.PresignHeader(ctx, http.MethodPut, t.bucket, name, presignedTime, url.Values{}, header)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("the signed URL cannot be requested") // its error would repeat the signature
	}
	req.Header = header.Clone()
	resp, err := t.client.Do(req)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err // without the URL
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, publish.MaxMutableSize))
		return err
	}
	// Of its errors only some are told apart, all of them by the status.
	return minio.ErrorResponse{StatusCode: resp.StatusCode, Code: http.StatusText(resp.StatusCode), Key: name, BucketName: t.bucket}
}
