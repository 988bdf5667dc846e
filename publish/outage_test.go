package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/targettest"
)

// awayFiles is out of reach for a while: what it is sent of the files comes to nothing.
type awayFiles struct {
	dir.Files
	until time.Time
	err   error
	tries atomic.Int32
}

func (a *awayFiles) Assemble(ctx context.Context, key string, pieces []publish.Piece, content io.ReaderAt) error {
	if time.Now().After(a.until) || len(pieces) == 0 || strings.HasSuffix(key, "/files.txt") {
		return a.Files.Assemble(ctx, key, pieces, content)
	}
	a.tries.Add(1)
	if _, err := content.ReadAt(make([]byte, pieces[0].Length), 0); err != nil {
		return err
	}
	return fmt.Errorf("send %s: %w", key, a.err)
}

// TestOutage: what a target is out of reach for costs time, and no run.
func TestOutage(t *testing.T) {
	refused := errors.New("refused")
	x, bodies := targettest.Generation(0) // by an encoder that all tests share
	for name, c := range map[string]struct {
		away time.Duration
		err  error
		want error
		took time.Duration // within two minutes
	}{
		"most of an hour": {50 * time.Minute, publish.ErrUnavailable, nil, 50 * time.Minute},
		"longer":          {3 * time.Hour, publish.ErrUnavailable, publish.ErrUnavailable, time.Hour},
		"for good":        {3 * time.Hour, refused, refused, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segments, _ := newDir(t)
				base := t.TempDir()
				start := time.Now()
				files := &awayFiles{Files: newFiles(t, base), until: start.Add(c.away), err: c.err}
				s := targettest.NewStage(t, segments, files)
				run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
				if err != nil {
					t.Fatal(err)
				}
				defer run.Close()
				for d, body := range bodies {
					if err := run.Put(t.Context(), d, body); err != nil {
						t.Fatal(err)
					}
				}
				err = run.PutFiles(t.Context(), targettest.Version(0), x, targettest.Open(0), nil)
				if took := time.Since(start); !errors.Is(err, c.want) || took < c.took || took > c.took+2*time.Minute {
					t.Fatalf("%v after %s and %d tries, want %v after %s", err, took, files.tries.Load(), c.want, c.took)
				}
				if err != nil {
					if diff := cmp.Diff([]string{targettest.Version(0) + ".claim.txt"}, filesOf(t, base, 0)); diff != "" {
						t.Error(diff)
					}
					return
				}
				receipt, err := run.Commit(t.Context(), targettest.NewManifest(0), x)
				if err != nil {
					t.Fatal(err)
				}
				var want int64
				for _, raw := range targettest.Raw(0) {
					want += int64(len(raw))
				}
				if receipt.FilesBytes != want {
					t.Errorf("%d bytes were sent, want each of the %d counted once", receipt.FilesBytes, want)
				}
				s.CheckWhole()
			})
		})
	}
}
