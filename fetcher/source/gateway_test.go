package source

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// TestGatewayAsks: a gateway is asked as the standard says, and by a URL that a cache
// tells from others.
func TestGatewayAsks(t *testing.T) {
	c := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum([]byte("block"))}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.String() + " " + r.Header.Get("Accept") {
		case "/of/us/ipfs/" + c.String() + "?format=raw&key=1 application/vnd.ipld.raw":
			_, _ = w.Write([]byte("block"))
		case "/of/us/ipns/k51?format=ipns-record&key=1 application/vnd.ipfs.ipns-record":
			_, _ = w.Write([]byte("record"))
		case "/of/us/ipfs/" + c.String() + "/a/b%20c?key=1 ":
			_, _ = w.Write([]byte("file"))
		default:
			t.Errorf("asked for %s, %s", r.URL, r.Header)
		}
	}))
	defer server.Close()
	g, err := OpenGateway(server.URL + "/of/us/?key=1")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := g.Get(t.Context(), c); err != nil || string(b) != "block" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := g.Record(t.Context(), "k51"); err != nil || string(b) != "record" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := g.Tree(c).Get(t.Context(), "a/b c", 10); err != nil || string(b) != "file" {
		t.Errorf("%q, %v", b, err)
	}
	if strings.Contains(g.String(), "key") {
		t.Errorf("its name is %s", g)
	}
	for _, bad := range []string{"", "gateway.example.org", "ipfs://" + c.String(), "http://", "http://user:hunter2@[::1/"} {
		if _, err := OpenGateway(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestHostileGateway: none of them takes time, memory or trust without end.
func TestHostileGateway(t *testing.T) {
	c := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum([]byte("block"))}
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 64<<10))
		}
	}
	hang := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<Er"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}
	permanent := func(err error) bool { return errors.As(err, new(*backoff.PermanentError)) }
	for name, g := range map[string]struct {
		do   http.HandlerFunc
		want func(error) bool
	}{
		"endless":             {endless, permanent},
		"hangs":               {hang(http.StatusOK), func(err error) bool { return strings.Contains(err.Error(), "no data for 100ms") }},
		"refuses and hangs":   {hang(http.StatusForbidden), permanent},
		"refuses":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotAcceptable) }, permanent},
		"does not have it":    {http.NotFound, func(err error) bool { return errors.Is(err, fetcher.ErrNotFound) }},
		"has had it":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }, func(err error) bool { return errors.Is(err, fetcher.ErrNotFound) }},
		"cannot get it":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGatewayTimeout) }, func(err error) bool { return !permanent(err) }},
		"has too many asking": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, func(err error) bool { return !permanent(err) }},
		"sends in circles":    {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) }, func(err error) bool { return strings.Contains(err.Error(), "too many redirects") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(g.do)
			defer server.Close()
			defer server.CloseClientConnections()
			gateway, err := OpenGateway(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			gateway.server.stall = 100 * time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if b, err := gateway.Get(ctx, c); err == nil || ctx.Err() != nil || !g.want(err) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		})
	}
}
