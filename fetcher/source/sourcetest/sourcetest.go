// Package sourcetest has the tests that every source of package source passes,
// and the ways in which servers are known to fail.
package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/qsync/qsync/fetcher"
)

// Run tests a source. open returns one that holds these objects.
func Run(t *testing.T, open func(t *testing.T, objects map[string][]byte) fetcher.Source) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	objects := map[string][]byte{
		"catalog":            []byte("small"),
		"segments/ab/ab.zst": big,
		"segments/cd/cd.zst": {},
		// Raw files have the names that an engine gives them.
		"some-channel/20261122-040003/full/a b+c&d=e %25#1.sst": []byte("raw"),
	}
	source := open(t, objects)
	ctx := context.Background()

	t.Run("get", func(t *testing.T) {
		for key, want := range objects {
			got, err := source.Get(ctx, key, int64(len(want)))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: got %d bytes, %v; want %d", key, len(got), err, len(want))
			}
		}
	})
	t.Run("get more than allowed", func(t *testing.T) {
		if got, err := source.Get(ctx, "segments/ab/ab.zst", 100); err == nil {
			t.Errorf("got %d bytes and no error", len(got))
		}
	})
	t.Run("not there", func(t *testing.T) {
		if _, err := source.Get(ctx, "keys", 100); !errors.Is(err, fetcher.ErrNotFound) {
			t.Errorf("get: error is %v", err)
		}
		_, err := source.Open(ctx, fetcher.Span{Key: "segments/ef/ef.zst", Length: 1, Size: 1})
		if !errors.Is(err, fetcher.ErrNotFound) {
			t.Errorf("open: error is %v", err)
		}
	})
	t.Run("spans", func(t *testing.T) {
		size := int64(len(big))
		var group sync.WaitGroup
		for _, span := range []fetcher.Span{
			{Offset: 0, Length: size}, {Offset: 0, Length: 1}, {Offset: size - 1, Length: 1},
			{Offset: 17, Length: 70_000}, {Offset: size / 2, Length: size - size/2},
		} {
			span.Key, span.Size = "segments/ab/ab.zst", size
			group.Go(func() {
				got, err := read(ctx, source, span)
				if err != nil || !bytes.Equal(got, big[span.Offset:span.Offset+span.Length]) {
					t.Errorf("%+v: got %d bytes, %v", span, len(got), err)
				}
			})
		}
		group.Wait()
	})
	t.Run("left early", func(t *testing.T) {
		for range 20 {
			body, err := source.Open(ctx, fetcher.Span{Key: "segments/ab/ab.zst", Length: int64(len(big)), Size: int64(len(big))})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := body.Read(make([]byte, 10)); err != nil {
				t.Error(err)
			}
			if err := body.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("a name", func(t *testing.T) {
		if source.String() == "" {
			t.Error("it has none")
		}
	})
}

func read(ctx context.Context, source fetcher.Source, span fetcher.Span) ([]byte, error) {
	body, err := source.Open(ctx, span)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(body)
	return got, errors.Join(err, body.Close())
}
