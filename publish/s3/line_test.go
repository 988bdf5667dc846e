package s3_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/scripts/s3server"
)

// line stands between a target and its server. A request may meet a fault there.
type line struct {
	forward http.Handler

	mu       sync.Mutex
	method   string
	faults   []fault
	requests []*http.Request
}

// fault is what happens to a request instead of its being forwarded.
type fault func(w http.ResponseWriter, r *http.Request, forward http.Handler)

// through returns the options of a target whose requests go over a line.
func through(t *testing.T, server *s3server.Server) (s3.Options, *line) {
	t.Helper()
	to, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l := &line{forward: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}}
	proxy := httptest.NewServer(l)
	t.Cleanup(proxy.Close)
	o := options(server)
	o.Endpoint = proxy.URL
	o.Prefix = strings.ReplaceAll(t.Name(), "/", "-")
	return o, l
}

// meet lets the next requests of the method meet the faults, one each, and
// forgets the requests that were made so far.
func (l *line) meet(method string, faults ...fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.method, l.faults, l.requests = method, faults, nil
}

func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := l.next(r); f != nil {
		f(w, r, l.forward)
		return
	}
	l.forward.ServeHTTP(w, r)
}

func (l *line) next(r *http.Request) fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, r)
	if r.Method != l.method || len(l.faults) == 0 {
		return nil
	}
	f := l.faults[0]
	l.faults = l.faults[1:]
	return f
}

// want checks how many requests of the method there were, and that they met all faults.
func (l *line) want(t *testing.T, requests int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, r := range l.requests {
		if r.Method == l.method {
			n++
		}
	}
	if n != requests || len(l.faults) > 0 {
		t.Errorf("%d requests of %s and %d faults left, want %d and none", n, l.method, len(l.faults), requests)
	}
}

// lost lets the server do what was asked and cuts the connection then.
func lost(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
	forward.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// cut ends an answer in the middle.
func cut(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	whole := httptest.NewRecorder()
	forward.ServeHTTP(whole, r)
	for name := range whole.Header() {
		w.Header().Set(name, whole.Header().Get(name))
	}
	w.WriteHeader(whole.Code)
	_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
	panic(http.ErrAbortHandler)
}

// answer is an error of the store.
func answer(status int, code string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<Error><Code>" + code + "</Code><Message>so it is</Message></Error>"))
	}
}

var slowDown = answer(http.StatusServiceUnavailable, "SlowDown")
