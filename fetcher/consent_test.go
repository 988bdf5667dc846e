package fetcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
)

// refusing is a source whose every answer is an error.
type refusing struct{ err error }

func (r refusing) Get(context.Context, string, int64) ([]byte, error) {
	return nil, backoff.Permanent(r.err)
}

func (r refusing) Open(context.Context, fetcher.Span) (io.ReadCloser, error) {
	return nil, backoff.Permanent(r.err)
}

func (r refusing) String() string { return r.err.Error() }

// What would cost money decides only when there is nothing else.
func TestConsentIsForTheOnlySource(t *testing.T) {
	p := newPublisher(t)
	p.publish("20261122-040003", files{"a": random(1, 3*mib)})
	paid := refusing{fmt.Errorf("pay first: %w", fetcher.ErrConsent)}
	broken := refusing{errors.New("broken")}
	free := openSource(t, p.base)
	dataOnly := &headsOnly{free}
	for name, test := range map[string]struct {
		sources []fetcher.Source
		want    error // nil if the restore is to work
		not     error
	}{
		"paid alone":                  {[]fetcher.Source{paid}, fetcher.ErrConsent, nil},
		"free works":                  {[]fetcher.Source{paid, free}, nil, nil},
		"free has failed":             {[]fetcher.Source{paid, broken}, fetcher.ErrNoSource, fetcher.ErrConsent},
		"free has no data":            {[]fetcher.Source{paid, dataOnly}, fetcher.ErrNoSource, fetcher.ErrConsent},
		"free has failed, other turn": {[]fetcher.Source{broken, paid}, fetcher.ErrNoSource, fetcher.ErrConsent},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fetcher.Run(t.Context(), options(p, filepath.Join(t.TempDir(), "db"), test.sources...))
			if !errors.Is(err, test.want) || test.not != nil && errors.Is(err, test.not) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// headsOnly is a source that fails for every segment.
type headsOnly struct{ fetcher.Source }

func (headsOnly) Open(context.Context, fetcher.Span) (io.ReadCloser, error) {
	return nil, backoff.Permanent(errors.New("no segments here"))
}
