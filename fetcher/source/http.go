package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
)

// httpSource reads a published tree from a web server or a CDN.
type httpSource struct {
	base   *url.URL
	client *http.Client
	access Access
	// stall is how long a stream may stand still.
	stall time.Duration
}

const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 30 * time.Second
	stallTimeout  = 30 * time.Second
	maxRedirects  = 5
	maxHeaders    = 64 << 10
	// idleConnections is more than a fetch ever opens to one host, so that each
	// is used again.
	idleConnections = 64
)

func newHTTP(base *url.URL) (*httpSource, error) {
	if base.Host == "" {
		return nil, fmt.Errorf("source %s: the URL has no host", base.Redacted())
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeaders,
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        time.Minute,
		// What is stored is what is hashed: nobody may unpack it on the way.
		DisableCompression: true,
		// Many streams over one HTTP/2 connection share its one window;
		// parallel spans want connections of their own.
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(true)
	return &httpSource{
		base:  base,
		stall: stallTimeout,
		client: &http.Client{
			Transport: &refusals{transport, refusalTime},
			CheckRedirect: func(to *http.Request, via []*http.Request) error {
				if len(via) >= maxRedirects {
					return errors.New("too many redirects")
				}
				if via[0].URL.Scheme == "https" && to.URL.Scheme != "https" {
					return errors.New("redirect from https to " + to.URL.Scheme)
				}
				to.Header.Del("Referer") // it has the query of a source's URL, which may be secret
				return nil
			},
		},
	}, nil
}

// String leaves out what may be secret: password and query.
func (h *httpSource) String() string {
	u := *h.base
	u.RawQuery, u.Fragment = "", ""
	return u.Redacted()
}

func (h *httpSource) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	body, err := h.request(ctx, key, "", func(resp *http.Response) error {
		if resp.StatusCode != http.StatusOK {
			return statusError(resp)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return readAll(body, key, limit)
}

func (h *httpSource) Open(ctx context.Context, span fetcher.Span) (io.ReadCloser, error) {
	wanted := fmt.Sprintf("bytes=%d-%d", span.Offset, span.Offset+span.Length-1)
	if span.Whole() {
		wanted = ""
	}
	skip := int64(0)
	body, err := h.request(ctx, span.Key, wanted, func(resp *http.Response) error {
		switch {
		case resp.StatusCode == http.StatusOK:
			// Also the answer of servers that know no ranges: the whole object.
			skip = span.Offset
			return checkLength(resp, span.Size)
		case resp.StatusCode == http.StatusPartialContent && wanted != "":
			return checkRange(resp, span)
		}
		return statusError(resp)
	})
	if err != nil {
		return nil, err
	}
	return cut(body, skip, span)
}

// maxSkip is the most bytes that are read for nothing: a segment at its longest. Of a
// larger file the same beginning would be sent again and again.
const maxSkip = manifest.MaxSegmentChunks * manifest.MaxFrameSize

// cut is the part of a body that holds a span, which begins behind so many bytes.
func cut(body io.ReadCloser, skip int64, span fetcher.Span) (io.ReadCloser, error) {
	if skip > maxSkip {
		err := fmt.Errorf("server sent all of %s, and what is wanted begins at byte %d: it knows no ranges", span.Key, skip)
		return nil, backoff.Permanent(errors.Join(err, body.Close()))
	}
	if _, err := io.CopyN(io.Discard, body, skip); err != nil {
		return nil, errors.Join(fmt.Errorf("skip to byte %d of %s: %w", skip, span.Key, err), body.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, span.Length), body}, nil
}

// request sends a GET and returns the body of an answer that check accepts.
func (h *httpSource) request(ctx context.Context, key, byteRange string, check func(*http.Response) error) (io.ReadCloser, error) {
	header := http.Header{}
	if byteRange != "" {
		header.Set("Range", byteRange)
	}
	return h.do(ctx, http.MethodGet, key, header, check)
}

// do is request with another method, or more headers.
func (h *httpSource) do(ctx context.Context, method, key string, header http.Header, check func(*http.Response) error) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	u := *h.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + key
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		cancel()
		return nil, backoff.Permanent(errors.New("the URL cannot be requested"))
	}
	req.Header = header
	req.Header.Set("User-Agent", "qsync")
	resp, err := h.client.Do(req)
	if err == nil {
		resp.Body = newStallReader(resp.Body, cancel, h.stall) // also what a refusal says may never end
		if err = check(resp); err == nil {
			return resp.Body, nil
		}
		err = h.access.explain(resp, err)
		_ = resp.Body.Close()
	}
	cancel()
	return nil, redact(err)
}

// redact takes the URL out of an error of net/http: it may hold a password or a
// signed query, and whoever reports the error names the source.
func redact(err error) error {
	if inner := (*url.Error)(nil); errors.As(err, &inner) {
		return inner.Err
	}
	return err
}

func statusError(resp *http.Response) error {
	err := fmt.Errorf("server answered %s", resp.Status)
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%w: %w", fetcher.ErrNotFound, err)
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500:
		return err
	case code == http.StatusPartialContent:
		return fmt.Errorf("%w, but nobody asked for a part", err)
	}
	return backoff.Permanent(err)
}

func checkLength(resp *http.Response, want int64) error {
	if got := resp.ContentLength; got >= 0 && got != want {
		return fmt.Errorf("object has %d bytes, want %d", got, want)
	}
	return nil
}

// checkRange holds a server to the range that it was asked for: caches are
// known to answer with another.
func checkRange(resp *http.Response, span fetcher.Span) error {
	got := resp.Header.Get("Content-Range")
	want := "bytes " + strconv.FormatInt(span.Offset, 10) + "-" + strconv.FormatInt(span.Offset+span.Length-1, 10) + "/"
	total, ok := strings.CutPrefix(got, want)
	if !ok || (total != "*" && total != strconv.FormatInt(span.Size, 10)) {
		return fmt.Errorf("server answered with range %.80q, want %q", got, want+strconv.FormatInt(span.Size, 10))
	}
	return checkLength(resp, span.Length)
}

// stallReader ends a request whose body stands still, which TCP alone would let
// go on for hours.
type stallReader struct {
	body    io.ReadCloser
	cancel  context.CancelFunc
	stall   time.Duration
	timer   *time.Timer
	mu      sync.Mutex
	stalled bool
}

func newStallReader(body io.ReadCloser, cancel context.CancelFunc, stall time.Duration) *stallReader {
	r := &stallReader{body: body, cancel: cancel, stall: stall}
	r.timer = time.AfterFunc(stall, func() {
		r.mu.Lock()
		r.stalled = true
		r.mu.Unlock()
		cancel()
	})
	// The time between two reads is the reader's, not the server's.
	r.timer.Stop()
	return r
}

func (r *stallReader) Read(p []byte) (int, error) {
	r.timer.Reset(r.stall)
	n, err := r.body.Read(p)
	r.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.stalled {
			err = fmt.Errorf("no data for %s", r.stall)
		}
	}
	return n, err
}

func (r *stallReader) Close() error {
	r.timer.Stop()
	err := r.body.Close()
	r.cancel()
	return err
}
