package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// Put implements [publish.Objects]. It asks first: a question costs a tenth of
// a write, and the bytes of an object that is there are not sent.
func (t *Target) Put(ctx context.Context, key string, body []byte) error {
	name, err := t.name(key)
	if err != nil {
		return err
	}
	size := int64(len(body))
	have, err := t.stat(ctx, name)
	switch {
	case errors.Is(err, publish.ErrNotFound):
		err := t.upload(ctx, key, body, true)
		if !refusedCondition(err) {
			return err
		}
		// Somebody was faster, or it is this very upload, whose answer was lost.
		// Either way it is as young as it should be.
		have, err = t.stat(ctx, name)
		if err == nil && have.Size == size {
			return nil
		}
		if err != nil && !errors.Is(err, publish.ErrNotFound) {
			return err
		}
	case err != nil:
		return err
	case have.Size == size:
		if renewed, err := t.renew(ctx, name, have); renewed || err != nil {
			return err
		}
	}
	// It is broken, or was deleted a moment ago.
	return t.upload(ctx, key, body, false)
}

// Replace implements [publish.Objects]. The store shows the new object when it has all
// of it.
func (t *Target) Replace(ctx context.Context, key string, body []byte) error {
	if _, err := t.name(key); err != nil {
		return err
	}
	return t.upload(ctx, key, body, false)
}

// renew makes an object young again, if it is still there. S3 cannot touch: the
// store copies it onto itself, for the price of a write, but no bytes are sent.
// It is done however young the object is: who puts an object relies on it for
// the whole grace period from now on.
func (t *Target) renew(ctx context.Context, name string, have minio.ObjectInfo) (bool, error) {
	header := map[string]string{
		"x-amz-metadata-directive":   "REPLACE", // a copy onto itself must change something
		"x-amz-copy-source-if-match": have.ETag,
		"Content-Type":               publish.ContentType(name),
		"Cache-Control":              publish.CacheForever,
	}
	copied, err := retryCopy(ctx, t.pace(name), have.Size, func(ctx context.Context) (minio.ObjectInfo, error) {
		return t.copyObject(ctx, name, name, header)
	})
	if errors.Is(err, publish.ErrNotFound) || refusedCondition(err) {
		return false, nil // it was deleted or replaced meanwhile
	}
	if err != nil {
		return false, fmt.Errorf("renew by a copy onto itself: %w", err)
	}
	// A store that only rewrites the headers leaves the age as it was. It is told
	// in whole seconds: of a copy within the same one nothing can be said.
	return copied.LastModified.Truncate(time.Second).After(have.LastModified), nil
}

// upload writes an immutable object; if fresh is set, only where there is none.
func (t *Target) upload(ctx context.Context, key string, body []byte, fresh bool) error {
	name := t.prefix + key
	options := minio.PutObjectOptions{ContentType: publish.ContentType(key), CacheControl: publish.CacheForever, StorageClass: t.storageClass}
	if fresh {
		options.SetMatchETagExcept("*")
	}
	if len(body) > singleMax {
		return t.uploadParts(ctx, name, t.cut(name, body), int64(len(body)), options)
	}
	sum, named := publish.NamedDigest(key)
	if !named {
		sum = manifest.Sum(body)
	}
	_, err := t.write(ctx, name, body, sum, options)
	return err
}

// write sends an object in one request, whose bytes the store checks against their
// digest, and keeps that. A store that has answered with the digest knows checksums.
// Others, and those that are not known yet, check the bytes against the signature of
// the request: to let all do both would cost them as much again. Of several tries any
// may have been applied.
func (t *Target) write(ctx context.Context, name string, body []byte, sum manifest.Digest, options minio.PutObjectOptions) (tries int, err error) {
	checksum := base64.StdEncoding.EncodeToString(sum[:])
	options.UserMetadata = map[string]string{"x-amz-checksum-sha256": checksum}
	options.DisableContentSha256 = true // the signature in pieces, which has no digest of the whole
	signed := sum.Hex()
	if t.knowsChecksums.Load() {
		signed = ""
	}
	done, err := retry(ctx, t.pace(name), int64(len(body)), func(ctx context.Context) (minio.UploadInfo, error) {
		tries++
		return t.store.PutObject(ctx, t.bucket, name, bytes.NewReader(body), int64(len(body)), "", signed, options)
	})
	if err == nil && done.ChecksumSHA256 == checksum {
		t.knowsChecksums.Store(true)
	}
	return tries, err
}
