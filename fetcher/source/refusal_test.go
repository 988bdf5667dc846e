package source

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
)

// TestRefusalWithoutEnd has servers that refuse, or send elsewhere, and go on with
// nothing or for ever: the answer is there all the same.
func TestRefusalWithoutEnd(t *testing.T) {
	useAWS(t, "key", "secret")
	endings := map[string]func(w http.ResponseWriter, r *http.Request){
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"never ends": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("no "), 20_000)); err != nil {
					return
				}
			}
		},
	}
	for _, status := range []int{http.StatusForbidden, http.StatusServiceUnavailable, http.StatusFound} {
		for name, end := range endings {
			for _, kind := range []string{"http", "s3"} {
				t.Run(fmt.Sprintf("%s %d %s", kind, status, name), func(t *testing.T) {
					server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Location", "/elsewhere")
						w.WriteHeader(status)
						_ = http.NewResponseController(w).Flush()
						end(w, r)
					}))
					t.Cleanup(func() {
						server.CloseClientConnections()
						server.Close()
					})
					s := refusedSoon(t, kind, server.URL)
					start := time.Now()
					_, err := s.Get(t.Context(), "catalog", 100)
					if took := time.Since(start); took > 10*time.Second {
						t.Errorf("it took %s", took)
					}
					permanent := (*backoff.PermanentError)(nil)
					if err == nil || status == http.StatusForbidden && !errors.As(err, &permanent) {
						t.Errorf("error is %v", err)
					}
				})
			}
		}
	}
}

// refusedSoon is a source that does not wait long for the rest of a refusal.
func refusedSoon(t *testing.T, kind, url string) fetcher.Source {
	t.Helper()
	const wait = 50 * time.Millisecond
	if kind == "http" {
		s := mustOpen(t, url).(*httpSource)
		s.client.Transport.(*refusals).wait = wait
		return s
	}
	s := mustOpen(t, "s3://bucket-name?endpoint="+url).(*s3Source)
	s.transport.(*refusals).wait = wait
	return s
}
