package status_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/qsync/qsync/publish/status"
)

// TestCauses has errors told in words, as they really are and as qsync writes them.
func TestCauses(t *testing.T) {
	get := func(wait time.Duration, url string) error {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		must(t, err)
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			answer.Body.Close()
		}
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	silent := "http://" + listener.Addr().String()
	closed := httptest.NewServer(nil)
	closed.Close()
	unknown := httptest.NewTLSServer(nil)
	defer unknown.Close()
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer cut.Close()
	for want, all := range map[string][]error{
		"it could not be reached": {
			get(time.Minute, closed.URL), get(time.Minute, cut.URL),
			&net.DNSError{Err: "no such host", Name: "cdn.internal", Server: "10.0.0.53:53", IsNotFound: true},
			errors.New("dial tcp 10.1.2.3:443: connect: no route to host"), errors.New("read tcp 10.1.2.3:443: connection reset by peer"),
		},
		"it did not answer in time":                {get(10*time.Millisecond, silent), errors.New("fetch 3f9a from https://x: no data for 30s"), errors.New("net/http: TLS handshake timeout")},
		"no secure connection could be made to it": {get(time.Minute, unknown.URL), errors.New("tls: failed to verify certificate: x509: certificate has expired or is not yet valid")},
		"what was signed has expired there":        {errors.New("head of demo-files: expired at 2026-11-01T00:00:00Z")},
		"what it served was not what was signed": {
			errors.New("chunk 5: content does not match its digest"), errors.New("not trusted: signature of an unknown key"), errors.New("rollback: sequence 4 after 7"),
		},
		"it refused access":           {errors.New("server answered 403 Forbidden"), errors.New("The credentials lack the permission: access denied")},
		"something was missing there": {errors.New("head: not found: server answered 404 Not Found")},
		"it answered with an error":   {errors.New("server answered 503 Service Unavailable"), errors.New("server answered 418 I'm a teapot")},
		"it could not be read from":   {errors.New("/srv/qsync/folder/x: input/output error")},
	} {
		for _, cause := range all {
			f := withTrouble(facts(1), 0, cause.Error())
			if got := status.NewPage(f, evening).Channels[0].Locations[0].Cause; got != want {
				t.Errorf("%s: %q, want %q", cause, got, want)
			}
		}
	}
}

func TestPublicNames(t *testing.T) {
	const none = "a location without a public name"
	for location, want := range map[string]string{
		"https://cdn.example.org": "cdn.example.org", "https://cdn.example.org/x/": "cdn.example.org/x", "http://cdn.example.org:8080": "http://cdn.example.org:8080",
		"https://user:hunter2@cdn.example.org/?token=hunter2#hunter2": "cdn.example.org",
		"s3://bucket/prefix?endpoint=https%3A%2F%2Fstore.internal":    "s3://bucket/prefix",
		"s3://bucket/prefix at store.internal:9000":                   "s3://bucket/prefix", "s3://bucket at store.internal:9000": "s3://bucket",
		"ipfs": "ipfs", "ipns://k51abc": "ipns://k51abc",
		"/srv/qsync": none, "file:///srv/qsync": none, "srv/qsync": none, "10.0.0.5:9000": none, "": none, "https://%zz": none,
	} {
		f := facts(1)
		f.Locations[0].Last.Location = location
		if got := status.NewPage(f, evening).Channels[0].Locations[0].Location; got != want {
			t.Errorf("%q: %q, want %q", location, got, want)
		}
	}
}
