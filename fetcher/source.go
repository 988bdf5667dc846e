package fetcher

import (
	"context"
	"errors"
	"io"

	"github.com/qsync/qsync/manifest"
)

// The kinds of failure that a caller can act on.
var (
	ErrNotFound = errors.New("not found")
	ErrInUse    = errors.New("in use")
	ErrNoSpace  = errors.New("not enough space")
	ErrNoSource = errors.New("no source could serve")
	ErrConsent  = errors.New("consent needed")
)

// Source is a place that a published tree can be read from. Nothing that it
// returns is believed: whoever calls checks signatures and digests.
//
// Implementations are safe for concurrent use and do not retry. An error for an
// object that is not there wraps [ErrNotFound]; one that will not go away by
// trying again is a [backoff.PermanentError]; any other may be retried.
type Source interface {
	// Get returns the object at key, whole. An object of more than limit
	// bytes is an error, found without reading more than that.
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
	// Open streams a span of an object. The stream may end early or be wrong;
	// it is an error, at the latest when it is read, if the source knows that.
	Open(ctx context.Context, span Span) (io.ReadCloser, error)
	// String names the source for people, without credentials.
	String() string
}

// Addressed is a source that finds things by what they hold.
type Addressed interface {
	Source
	// HasSegments tells it which trees a snapshot has, nil if the publisher does not
	// say, and reports whether it has the one of segments. One that does not may
	// still have chunks.
	HasSegments(ctx context.Context, roots *manifest.IPFS) (bool, error)
}

// Span is a part of an object, or of a raw file.
type Span struct {
	Key    string
	Offset int64 // bytes
	Length int64 // bytes, at least 1
	Size   int64 // bytes of the whole object
	// Chunks are the digests of the chunks that the span is, one behind the other, for
	// an Addressed source that has no segments.
	Chunks []byte
}

// Whole reports whether the span is the whole object.
func (s Span) Whole() bool { return s.Offset == 0 && s.Length == s.Size }
