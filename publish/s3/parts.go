package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/publish"
)

// An object of more bytes than singleMax is sent in parts: when a connection
// breaks, one part is lost. Segments are never that big, indexes can be.
const (
	singleMax = 64 << 20
	partSize  = 16 << 20
)

// part stores one part of an upload in parts, whose number it is told.
type part func(ctx context.Context, upload string, number int) (minio.CompletePart, error)

// partsAtOnce is how many parts of an object are under way at a time.
const partsAtOnce = 8

// uploadParts makes an object of parts. Nobody sees it before the last step.
func (t *Target) uploadParts(ctx context.Context, name string, parts []part, size int64, options minio.PutObjectOptions) (err error) {
	id, err := retry(ctx, t.pace(name), 0, func(ctx context.Context) (string, error) {
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
	done := make([]minio.CompletePart, len(parts))
	group, partsCtx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	for i, store := range parts {
		group.Go(func() (err error) {
			if done[i], err = store(partsCtx, id, i+1); err != nil {
				return fmt.Errorf("part %d of %d: %w", i+1, len(parts), err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	_, err = retryCopy(ctx, t.pace(name), size, func(ctx context.Context) (minio.UploadInfo, error) {
		return t.store.CompleteMultipartUpload(ctx, t.bucket, name, id, done, options)
	})
	if code(err) == noSuchUpload {
		// It is complete already, if the answer that said so was lost.
		if have, statErr := t.stat(ctx, name); statErr == nil && have.Size == size {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("put %d parts together: %w", len(parts), err)
	}
	return nil
}

// cut are the parts of an object that is in memory.
func (t *Target) cut(name string, body []byte) (parts []part) {
	for piece := range slices.Chunk(body, partSize) {
		parts = append(parts, func(ctx context.Context, upload string, number int) (minio.CompletePart, error) {
			return t.sendPart(ctx, name, upload, number, piece)
		})
	}
	return parts
}

// sendPart sends a part, which the store checks.
func (t *Target) sendPart(ctx context.Context, name, upload string, number int, body []byte) (minio.CompletePart, error) {
	sum := sha256.Sum256(body)
	sent, err := retry(ctx, t.pace(name), int64(len(body)), func(ctx context.Context) (minio.ObjectPart, error) {
		sent, err := t.store.PutObjectPart(ctx, t.bucket, name, upload, number, bytes.NewReader(body), int64(len(body)), minio.PutObjectPartOptions{
			Sha256Hex: hex.EncodeToString(sum[:]), DisableContentSha256: true,
		})
		if err == nil && sent.ETag == "" {
			err = errNoTag
		}
		return sent, err
	})
	return minio.CompletePart{PartNumber: number, ETag: sent.ETag}, err
}

// abortTimeout bounds what is done after a cancel.
const abortTimeout = 10 * time.Second

// abort makes the store forget the parts of an upload, which cost like objects.
func (t *Target) abort(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	_, err := retry(ctx, t.pace(name), 0, func(ctx context.Context) (struct{}, error) {
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
		page, err := retry(ctx, t.pace(t.prefix), 0, func(ctx context.Context) (minio.ListMultipartUploadsResult, error) {
			return t.store.ListMultipartUploads(ctx, t.bucket, t.prefix, keyMarker, idMarker, "", pageSize)
		})
		if err != nil {
			return fmt.Errorf("list unfinished uploads: %w", err)
		}
		for _, u := range page.Uploads {
			key, ours := strings.CutPrefix(u.Key, t.prefix)
			if !ours || !publish.Immutable(key) || !u.Initiated.Before(before) {
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
	var size int64
	for marker, more := 0, true; more; {
		page, err := retry(ctx, t.pace(u.Key), 0, func(ctx context.Context) (minio.ListObjectPartsResult, error) {
			return t.store.ListObjectParts(ctx, t.bucket, u.Key, u.UploadID, marker, pageSize)
		})
		if code(err) == noSuchUpload {
			return nil // it has come to its end meanwhile
		}
		if err != nil {
			return fmt.Errorf("list the parts of an unfinished upload: %w", err)
		}
		for _, part := range page.ObjectParts {
			size += part.Size
		}
		more = page.IsTruncated && page.NextPartNumberMarker > marker
		marker = page.NextPartNumberMarker
	}
	if err := fn(publish.Object{Key: key, Size: size, Modified: u.Initiated}); err != nil {
		return err
	}
	if !remove {
		return nil
	}
	return t.abort(ctx, u.Key, u.UploadID)
}
