package fetcher_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qsync/qsync/fetcher"
)

// dribbling is a source that sends a byte of some objects now and then.
type dribbling struct {
	fetcher.Source
	slow func(key string) bool
}

func (d *dribbling) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	if !d.slow(key) {
		return d.Source.Get(ctx, key, limit)
	}
	return io.ReadAll(dribble(ctx))
}

func (d *dribbling) Open(ctx context.Context, span fetcher.Span) (io.ReadCloser, error) {
	if !d.slow(span.Key) {
		return d.Source.Open(ctx, span)
	}
	return io.NopCloser(dribble(ctx)), nil
}

func dribble(ctx context.Context) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(20 * time.Second): // soon enough to be no standstill
			p[0] = 'x'
			return 1, nil
		}
	})
}

// TestDribblingSource has a source whose small objects take for ever, beside a good
// one and alone.
func TestDribblingSource(t *testing.T) {
	p := newPublisher(t)
	p.publish("20261122-040003", files{"a": []byte("1")})
	for name, slow := range map[string]func(key string) bool{
		"head":     func(key string) bool { return key == testChannel+"/head" },
		"keys":     func(key string) bool { return key == "keys" },
		"manifest": func(key string) bool { return strings.HasPrefix(key, "manifests/") },
	} {
		t.Run(name, func(t *testing.T) {
			good, repository := openSource(t, p.base), p.repository()
			synctest.Test(t, func(t *testing.T) {
				bad := &dribbling{good, slow}
				for _, sources := range [][]fetcher.Source{{bad, good}, {bad}} {
					repository.Sources = sources
					start := time.Now()
					_, err := repository.Manifest(t.Context(), testChannel, "")
					if took := time.Since(start); took > 3*time.Minute {
						t.Errorf("%d sources: after %s", len(sources), took)
					}
					if alone := len(sources) == 1 && name != "keys"; alone != (err != nil) ||
						alone && !strings.Contains(err.Error(), "it takes too long") {
						t.Errorf("%d sources: %v", len(sources), err)
					}
				}
			})
		})
	}
}
