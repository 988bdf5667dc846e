package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/status"
)

// hanging sends so many bytes of what is asked for, and nothing after that.
type hanging struct {
	fetcher.Source
	sends int
}

func (h hanging) String() string { return "https://cdn.example.org" }

func (h hanging) Open(ctx context.Context, _ fetcher.Span) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, h.sends)), silence{ctx})), nil
}

type silence struct{ context.Context }

func (s silence) Read([]byte) (int, error) {
	<-s.Done()
	return 0, s.Err()
}

// TestSlow has locations send some bytes and then hang: a chunk at least must come.
func TestSlow(t *testing.T) {
	for _, test := range []struct {
		sends int
		up    bool
	}{{1, false}, {manifest.ChunkSize - 1, false}, {manifest.ChunkSize, true}, {manifest.ChunkSize + 1, true}} {
		synctest.Test(t, func(t *testing.T) {
			zero := zeros()
			p := &Place{Files: true, spans: []span{{
				path: "big", size: 2 * manifest.ChunkSize, digests: append(zero[:], zero[:]...), frames: make([]uint32, 2),
			}}}
			seen := &status.Probe{}
			err := (&Reader{Sample: 4 * manifest.ChunkSize}).readSample(t.Context(), p, hanging{sends: test.sends}, &manifest.Manifest{}, seen)
			if test.up && (err != nil || seen.Bytes != manifest.ChunkSize) || !test.up && (!errors.Is(err, errSlow) || len(p.spans) != 1) {
				t.Errorf("after %d bytes: %v, %+v", test.sends, err, seen)
			}
		})
	}
}
