package fetcher_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/qsync/qsync/fetcher"
)

var errStopped = errors.New("stopped by the test")

// stopper cancels the restore after so many bytes of data.
type stopper struct {
	fetcher.Source
	after  int64
	cancel context.CancelCauseFunc
	sent   atomic.Int64
}

func (s *stopper) Open(ctx context.Context, span fetcher.Span) (io.ReadCloser, error) {
	body, err := s.Source.Open(ctx, span)
	if err != nil || !isData(span.Key) {
		return body, err
	}
	return struct {
		io.Reader
		io.Closer
	}{readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		n, err := body.Read(p)
		if s.sent.Add(int64(n)) > s.after {
			s.cancel(errStopped)
		}
		return n, err
	}), body}, nil
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// hooked calls before for each span that is asked for.
type hooked struct {
	fetcher.Source
	mu     sync.Mutex
	before func(fetcher.Span)
}

func (h *hooked) Open(ctx context.Context, span fetcher.Span) (io.ReadCloser, error) {
	h.mu.Lock()
	h.before(span)
	h.mu.Unlock()
	return h.Source.Open(ctx, span)
}
