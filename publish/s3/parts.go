package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/publish"
)

// An object of more bytes than singleMax is sent in parts: when a connection
// breaks, one part is lost. Segments are never that big, indexes can be.
const (
	singleMax = 64 << 20
	partSize  = 16 << 20
)

// uploadParts sends an object part by part. Nobody sees it before the last step.
func (t *Target) uploadParts(ctx context.Context, name string, body []byte, options minio.PutObjectOptions) (err error) {
	id, err := retry(ctx, 0, func(ctx context.Context) (string, error) {
		return t.store.NewMultipartUpload(ctx, t.bucket, name, minio.PutObjectOptions{
			ContentType: options.ContentType, CacheControl: options.CacheControl, StorageClass: options.StorageClass,
		})
	})
	if err != nil {
		return fmt.Errorf("begin the upload in parts: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.abort(context.WithoutCancel(ctx), name, id))
		}
	}()
	var parts []minio.CompletePart
	for at := 0; at < len(body); at += partSize {
		number := len(parts) + 1
		part, err := t.uploadPart(ctx, name, id, number, body[at:min(at+partSize, len(body))])
		if err != nil {
			return fmt.Errorf("upload part %d: %w", number, err)
		}
		parts = append(parts, minio.CompletePart{PartNumber: number, ETag: part.ETag})
	}
	_, err = retry(ctx, int64(len(body)), func(ctx context.Context) (minio.UploadInfo, error) {
		return t.store.CompleteMultipartUpload(ctx, t.bucket, name, id, parts, options)
	})
	if code(err) == noSuchUpload {
		// It is complete already, if the answer that said so was lost.
		if have, statErr := t.stat(ctx, name); statErr == nil && have.Size == int64(len(body)) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("put %d parts together: %w", len(parts), err)
	}
	return nil
}

func (t *Target) uploadPart(ctx context.Context, name, id string, number int, part []byte) (minio.ObjectPart, error) {
	sum := sha256.Sum256(part)
	return retry(ctx, int64(len(part)), func(ctx context.Context) (minio.ObjectPart, error) {
		return t.store.PutObjectPart(ctx, t.bucket, name, id, number, bytes.NewReader(part), int64(len(part)), minio.PutObjectPartOptions{
			Sha256Hex: hex.EncodeToString(sum[:]), DisableContentSha256: true,
		})
	})
}

// abortTimeout bounds what is done after a cancel.
const abortTimeout = 10 * time.Second

// abort makes the store forget the parts of an upload, which cost like objects.
func (t *Target) abort(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	_, err := retry(ctx, 0, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, t.store.AbortMultipartUpload(ctx, t.bucket, name, id)
	})
	if err != nil && code(err) != noSuchUpload {
		return fmt.Errorf("abort the upload in parts: %w", err)
	}
	return nil
}

const noSuchUpload = "NoSuchUpload"

func code(err error) string {
	answer, _ := answerOf(err)
	return answer.Code
}

// Leftovers implements [publish.Leftovers]: uploads in parts that did not come
// to their end. Others may upload to the bucket too, so it is those of our objects.
func (t *Target) Leftovers(ctx context.Context, before time.Time, remove bool, fn func(publish.Object) error) error {
	keyMarker, idMarker := "", ""
	for {
		page, err := retry(ctx, 0, func(ctx context.Context) (minio.ListMultipartUploadsResult, error) {
			return t.store.ListMultipartUploads(ctx, t.bucket, t.prefix, keyMarker, idMarker, "", pageSize)
		})
		if err != nil {
			return fmt.Errorf("list unfinished uploads: %w", err)
		}
		for _, u := range page.Uploads {
			key, ours := strings.CutPrefix(u.Key, t.prefix)
			if _, immutable := publish.NamedDigest(key); !ours || !immutable || !u.Initiated.Before(before) {
				continue
			}
			if err := t.leftover(ctx, key, u, remove, fn); err != nil {
				return err
			}
		}
		if !page.IsTruncated {
			return nil
		}
		keyMarker, idMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
}

func (t *Target) leftover(ctx context.Context, key string, u minio.ObjectMultipartInfo, remove bool, fn func(publish.Object) error) error {
	// No object of ours has more parts than are listed at once.
	parts, err := retry(ctx, 0, func(ctx context.Context) (minio.ListObjectPartsResult, error) {
		return t.store.ListObjectParts(ctx, t.bucket, u.Key, u.UploadID, 0, pageSize)
	})
	if code(err) == noSuchUpload {
		return nil // it has come to its end meanwhile
	}
	if err != nil {
		return fmt.Errorf("list the parts of an unfinished upload: %w", err)
	}
	var size int64
	for _, part := range parts.ObjectParts {
		size += part.Size
	}
	if err := fn(publish.Object{Key: key, Size: size, Modified: u.Initiated}); err != nil {
		return err
	}
	if !remove {
		return nil
	}
	return t.abort(ctx, u.Key, u.UploadID)
}
