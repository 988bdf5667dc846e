package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"

	"github.com/cenkalti/backoff/v5"
	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/publish"
)

// Stat implements [publish.Objects].
func (t *Target) Stat(ctx context.Context, key string) (publish.Object, error) {
	name, err := t.name(key)
	if err != nil {
		return publish.Object{}, err
	}
	info, err := t.stat(ctx, name)
	if err != nil {
		return publish.Object{}, err
	}
	return publish.Object{Key: key, Size: info.Size, Modified: info.LastModified}, nil
}

func (t *Target) stat(ctx context.Context, name string) (minio.ObjectInfo, error) {
	info, err := retry(ctx, t.pace(name), 0, func(ctx context.Context) (minio.ObjectInfo, error) {
		return t.store.StatObject(ctx, t.bucket, name, minio.StatObjectOptions{})
	})
	if answer, answered := answerOf(err); answered && answer.StatusCode < 500 && answer.StatusCode != http.StatusNotFound {
		// An answer to HEAD has no body that says why. One to GET has.
		if _, _, why := t.get(ctx, name, span(0, 1), 1); why != nil {
			return info, why
		}
	}
	return info, err
}

// Read implements [publish.Objects].
func (t *Target) Read(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	name, err := t.name(key)
	if err != nil {
		return nil, err
	}
	if offset < 0 || length < 0 || offset > math.MaxInt64-length {
		return nil, fmt.Errorf("read %d bytes at %d: %w", length, offset, io.ErrUnexpectedEOF)
	}
	if length == 0 { // no range says this
		info, err := t.stat(ctx, name)
		if err == nil && offset > info.Size {
			err = fmt.Errorf("read at %d of %d: %w", offset, info.Size, io.ErrUnexpectedEOF)
		}
		return []byte{}, err
	}
	body, header, err := t.get(ctx, name, span(offset, length), length)
	answer, _ := answerOf(err)
	switch {
	case answer.StatusCode == http.StatusRequestedRangeNotSatisfiable || err == nil && int64(len(body)) < length:
		return nil, fmt.Errorf("read %d bytes at %d: %w", length, offset, io.ErrUnexpectedEOF)
	case err != nil:
		return nil, err
	case offset > 0 && !strings.HasPrefix(header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)):
		return nil, fmt.Errorf("read %d bytes at %d: the store does not know ranges", length, offset)
	}
	return body, nil
}

// span asks for a range of at least one byte.
func span(offset, length int64) minio.GetObjectOptions {
	var options minio.GetObjectOptions
	options.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	return options
}

// get reads an object, or the range of it that the options say. If the store
// sends more than limit bytes, that is an error.
func (t *Target) get(ctx context.Context, name string, options minio.GetObjectOptions, limit int64) ([]byte, http.Header, error) {
	type answer struct {
		body   []byte
		header http.Header
	}
	a, err := retry(ctx, t.pace(name), limit, func(ctx context.Context) (answer, error) {
		stream, info, header, err := t.store.GetObject(ctx, t.bucket, name, options)
		if err != nil {
			return answer{}, err
		}
		defer stream.Close()
		// Before the memory for it is taken: the caller's limit may be a stranger's.
		if info.Size < 0 || info.Size > limit {
			return answer{}, backoff.Permanent(fmt.Errorf("the store answers with %d bytes, want at most %d", info.Size, limit))
		}
		body := make([]byte, info.Size)
		if _, err := io.ReadFull(stream, body); err != nil {
			// Fewer bytes than were announced: the connection broke, the object did not end.
			return answer{}, fmt.Errorf("the answer broke off: %v", err) //nolint:errorlint // io.ErrUnexpectedEOF would say that the object ended
		}
		return answer{body, header}, nil
	})
	return a.body, a.header, err
}

// List implements [publish.Objects].
func (t *Target) List(ctx context.Context, prefix string, fn func(publish.Object) error) error {
	// The listing is in order, so what broke off goes on behind the last object.
	last := ""
	for {
		more, err := retry(ctx, t.pace(t.prefix+prefix), 0, func(ctx context.Context) ([]minio.ObjectInfo, error) {
			return t.page(ctx, prefix, last)
		})
		if err != nil {
			return err
		}
		for _, o := range more {
			if o.Key <= last {
				return fmt.Errorf("the store lists %.80q behind %.80q: want the order of their bytes", o.Key, last)
			}
			last = o.Key
			if key := strings.TrimPrefix(o.Key, t.prefix); publish.ValidKey(key) { // what else lies here is not ours
				if err := fn(publish.Object{Key: key, Size: o.Size, Modified: o.LastModified}); err != nil {
					return err
				}
			}
		}
		if len(more) < pageSize {
			return ctx.Err()
		}
	}
}

// pageSize is the most objects that S3 lists in one answer.
const pageSize = 1000

// page lists the objects behind the last one.
func (t *Target) page(ctx context.Context, prefix, last string) ([]minio.ObjectInfo, error) {
	var page []minio.ObjectInfo
	for o := range t.store.ListObjectsIter(ctx, t.bucket, minio.ListObjectsOptions{
		Prefix: t.prefix + prefix, StartAfter: last, Recursive: true, MaxKeys: pageSize,
	}) {
		if o.Err != nil {
			return nil, o.Err
		}
		if page = append(page, o); len(page) == pageSize {
			break
		}
	}
	return page, nil
}

// Delete implements [publish.Objects].
func (t *Target) Delete(ctx context.Context, key string) error {
	name, err := t.name(key)
	if err != nil {
		return err
	}
	_, err = retry(ctx, t.pace(name), 0, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, t.store.RemoveObject(ctx, t.bucket, name, minio.RemoveObjectOptions{})
	})
	if errors.Is(err, publish.ErrNotFound) { // AWS has no such answer, others have
		return nil
	}
	return err
}
