package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// Load implements [publish.Pointers]. The tag is the ETag.
func (t *Target) Load(ctx context.Context, key string) (body []byte, tag string, err error) {
	name, err := t.name(key)
	if err != nil {
		return nil, "", err
	}
	body, header, err := t.get(ctx, name, minio.GetObjectOptions{}, publish.MaxMutableSize)
	if err != nil {
		return nil, "", err
	}
	if tag = strings.Trim(header.Get("ETag"), `"`); tag == "" {
		return nil, "", errors.New("the store gives objects no ETag, so they cannot be swapped")
	}
	return body, tag, nil
}

// Swap implements [publish.Pointers].
func (t *Target) Swap(ctx context.Context, key, tag string, body []byte) error {
	name, err := t.name(key)
	if err != nil {
		return err
	}
	if len(body) > publish.MaxMutableSize {
		return fmt.Errorf("%s: %d bytes are more than a mutable object may have", key, len(body))
	}
	options := minio.PutObjectOptions{ContentType: publish.ContentType(key), CacheControl: publish.CacheShortly}
	if tag == "" {
		options.SetMatchETagExcept("*")
	} else {
		options.SetMatchETag(tag)
	}
	if tag != "" && t.bareTags.Load() {
		return t.swapBare(ctx, key, tag, body)
	}
	tries, err := t.write(ctx, name, body, manifest.Sum(body), options)
	if errors.Is(err, publish.ErrNotFound) { // If-Match has found nothing to replace
		return fmt.Errorf("%w: %s is gone", publish.ErrConflict, key)
	}
	if !refusedCondition(err) {
		return err
	}
	now, nowTag, err := t.Load(ctx, key)
	switch {
	case errors.Is(err, publish.ErrNotFound):
	case err != nil:
		return fmt.Errorf("see why the swap was refused: %w", err)
	case tries > 1 && bytes.Equal(now, body):
		return nil // an earlier try was applied, and its answer lost
	case nowTag == tag && tag != "":
		return t.swapBare(ctx, key, tag, body)
	}
	return fmt.Errorf("%w: %s was changed meanwhile", publish.ErrConflict, key)
}
