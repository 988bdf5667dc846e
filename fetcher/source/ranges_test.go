package source

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
)

// rangeless serves an object of so many zeros under every name, whole whatever is
// asked for, and counts the bytes.
func rangeless(t *testing.T, size int64) (url string, sent *atomic.Int64) {
	t.Helper()
	sent = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Request-Charged", "requester")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
		if r.Method == http.MethodHead {
			return
		}
		for left := size; left > 0; {
			n, err := w.Write(make([]byte, min(left, 1<<20)))
			left -= int64(n)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, sent
}

// TestRangesIgnored asks servers that know no ranges for the end of an object: what
// is no longer than a segment is skipped, more is not, and of a bucket, where somebody
// pays, nothing is.
func TestRangesIgnored(t *testing.T) {
	useAWS(t, "key", "secret")
	const mib = 1 << 20
	// What the system has buffered when a connection is closed was sent too.
	const buffered = 8 * mib
	open := map[string]func(t *testing.T, base string, span fetcher.Span) (io.ReadCloser, error){
		"http": func(t *testing.T, base string, span fetcher.Span) (io.ReadCloser, error) {
			return mustOpen(t, base).Open(t.Context(), span)
		},
		"unsigned": func(t *testing.T, base string, span fetcher.Span) (io.ReadCloser, error) {
			tree, _, _, err := OpenUnsigned(unsignedPrefix + base + "/channel")
			check(t, err)
			return tree.OpenStamped(t.Context(), span, fetcher.Stamp{Size: span.Size, ETag: `"x"`})
		},
		"s3": func(t *testing.T, base string, span fetcher.Span) (io.ReadCloser, error) {
			consent := &Consent{}
			consent.Allow(mib)
			s, err := Options{Consent: consent}.Open("s3://bucket-name?requester-pays=true&endpoint=" + url.QueryEscape(base))
			check(t, err)
			body, err := s.Open(t.Context(), span)
			if consent.bytes > mib || err == nil && consent.bytes != 0 {
				t.Errorf("of the consent to %d bytes %d are left", mib, consent.bytes)
			}
			return body, err
		},
	}
	for _, test := range []struct {
		size   int64
		serves []string
	}{
		{20 * mib, []string{"http", "unsigned"}},
		{256 * mib, nil},
	} {
		for kind, open := range open {
			t.Run(kind+" "+strconv.FormatInt(test.size/mib, 10), func(t *testing.T) {
				base, sent := rangeless(t, test.size)
				body, err := open(t, base, fetcher.Span{Key: "c/v/full/table", Offset: test.size - mib, Length: mib, Size: test.size})
				if strings.Contains(strings.Join(test.serves, " "), kind) {
					check(t, err)
					got, err := io.ReadAll(body)
					check(t, errors.Join(err, body.Close()))
					if !bytes.Equal(got, make([]byte, mib)) {
						t.Errorf("got %d bytes", len(got))
					}
					return
				}
				permanent := (*backoff.PermanentError)(nil)
				if !errors.As(err, &permanent) {
					t.Fatalf("error is %v", err)
				}
				if sent.Load() > buffered {
					t.Errorf("server sent %d MiB: %v", sent.Load()/mib, err)
				}
			})
		}
	}
}
