package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/semaphore"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// Files is a [Target] that holds versions as directories, which any client of S3
// can copy.
type Files struct {
	*Target
	// memory bounds the content that is under way, in buffers.
	memory  *semaphore.Weighted
	buffers sync.Pool
}

var (
	_ publish.Files     = (*Files)(nil)
	_ publish.Leftovers = (*Files)(nil)
)

const (
	// contentMemory is how many bytes of content are in memory at a time.
	contentMemory = 64 << 20
	// maxCopy is the most that is copied in one request, which S3 takes up to 5 GiB for,
	// and minCopyPart what one of several that are made at a time copies at least.
	maxCopy     = 1 << 30
	minCopyPart = 256 << 20
	// maxCopyParts is, beside half as many pieces, few enough for S3, which makes an
	// object of 10,000 parts.
	maxCopyParts = 4096
)

// NewFiles returns the target of files, like [New].
func NewFiles(o Options) (*Files, error) {
	t, err := New(o)
	if err != nil {
		return nil, err
	}
	return &Files{Target: t, memory: semaphore.NewWeighted(contentMemory)}, nil
}

func (f *Files) options(key string) minio.PutObjectOptions {
	return minio.PutObjectOptions{ContentType: publish.ContentType(key), CacheControl: publish.CacheForever, StorageClass: f.storageClass}
}

// Copy implements [publish.Files]. The store copies: no bytes are sent.
func (f *Files) Copy(ctx context.Context, key, from string) error {
	name, err := f.name(key)
	if err != nil {
		return err
	}
	source, err := f.name(from)
	if err != nil {
		return err
	}
	have, err := f.stat(ctx, source)
	if err != nil {
		return fmt.Errorf("copy from %s: %w", from, err)
	}
	if have.Size >= maxCopy {
		return f.uploadParts(ctx, name, f.copied(name, source, publish.Piece{Length: have.Size}, have.Size), have.Size, f.options(key))
	}
	_, err = retryCopy(ctx, f.pace(name), have.Size, func(ctx context.Context) (minio.ObjectInfo, error) {
		return f.copyObject(ctx, name, source, map[string]string{"x-amz-copy-source-if-match": have.ETag})
	})
	if err != nil {
		return fmt.Errorf("copy from %s: %w", from, err)
	}
	return nil
}

// Assemble implements [publish.Files].
func (f *Files) Assemble(ctx context.Context, key string, pieces []publish.Piece, content io.ReaderAt) error {
	name, err := f.name(key)
	if err != nil {
		return err
	}
	if len(pieces) == 0 {
		_, err := f.write(ctx, name, nil, manifest.Sum(nil), f.options(key))
		return err
	}
	if p := pieces[0]; len(pieces) == 1 && p.From == "" {
		return f.read(ctx, content, p, func(body []byte) error {
			_, err := f.write(ctx, name, body, manifest.Sum(body), f.options(key))
			return err
		})
	}
	var size int64
	for _, p := range pieces {
		size += p.Length
	}
	var parts []part
	for _, p := range pieces {
		if p.From == "" {
			parts = append(parts, f.sent(name, p, content))
			continue
		}
		source, err := f.name(p.From)
		if err != nil {
			return err
		}
		parts = append(parts, f.copied(name, source, p, size)...)
	}
	return f.uploadParts(ctx, name, parts, size, f.options(key))
}

// read reads a piece of the content when there is memory for it.
func (f *Files) read(ctx context.Context, content io.ReaderAt, p publish.Piece, use func(body []byte) error) error {
	n := min(p.Length, contentMemory)
	if err := f.memory.Acquire(ctx, n); err != nil {
		return err
	}
	defer f.memory.Release(n)
	body, _ := f.buffers.Get().([]byte)
	body = slices.Grow(body[:0], int(p.Length))[:p.Length]
	defer f.buffers.Put(body) //nolint:staticcheck // a header of 24 bytes is no memory beside 8 MiB
	if _, err := content.ReadAt(body, p.Offset); err != nil {
		return err
	}
	return use(body)
}

// sent is a part that is a piece of the content.
func (f *Files) sent(name string, p publish.Piece, content io.ReaderAt) part {
	return func(ctx context.Context, upload string, number int) (done minio.CompletePart, err error) {
		err = f.read(ctx, content, p, func(body []byte) error {
			done, err = f.sendPart(ctx, name, upload, number, body)
			return err
		})
		return done, err
	}
}

// copied are the parts that the store copies from a span of another object, for one
// of so many bytes.
func (f *Files) copied(name, source string, span publish.Piece, size int64) (parts []part) {
	most := max(minCopyPart, size/maxCopyParts)
	for at := int64(0); at < span.Length; {
		n := span.Length - at
		if n >= 2*most { // so that none is too small
			n = most
		}
		start := span.Offset + at
		parts = append(parts, func(ctx context.Context, upload string, number int) (minio.CompletePart, error) {
			return retryCopy(ctx, f.pace(name), n, func(ctx context.Context) (minio.CompletePart, error) {
				done, err := f.store.CopyObjectPart(ctx, f.bucket, source, f.bucket, name, upload, number, start, n, nil)
				if err == nil && done.ETag == "" {
					err = errNoTag
				}
				return done, err
			})
		})
		at += n
	}
	return parts
}

// errNoTag says that the store has said 200 before it knew, and an error afterwards.
var errNoTag = errors.New("the store has not done what it said: its answer has no ETag")

// copyObject has the store copy an object whole.
func (t *Target) copyObject(ctx context.Context, name, source string, header map[string]string) (minio.ObjectInfo, error) {
	if t.storageClass != "" {
		header["x-amz-storage-class"] = t.storageClass
	}
	o, err := t.store.CopyObject(ctx, t.bucket, source, t.bucket, name, header, minio.CopySrcOptions{}, minio.PutObjectOptions{})
	if err == nil && o.ETag == "" {
		err = errNoTag
	}
	return o, err
}
