package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
)

// unsignedPrefix is what the URL of a tree as Parity publishes it begins with.
const unsignedPrefix = "parity+"

// IsUnsigned reports whether a URL is that of a place that nobody signs: of the
// form parity+https://HOST/CHANNEL, with or without a version behind it.
func IsUnsigned(rawURL string) bool { return strings.HasPrefix(rawURL, unsignedPrefix) }

// OpenUnsigned makes the tree for a URL of that form, with https, http or file. It
// returns the channel and the version that the URL ends in, each empty if it names
// none.
func OpenUnsigned(rawURL string) (tree fetcher.UnsignedTree, channel, version string, err error) {
	u, err := url.Parse(strings.TrimPrefix(rawURL, unsignedPrefix))
	if err != nil {
		return nil, "", "", fmt.Errorf("source: the URL cannot be parsed") // the error would repeat it
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if last := path.Base(u.Path); manifest.CheckVersion(last) == nil {
		version, u.Path = last, path.Dir(u.Path)
	}
	channel = strings.Trim(path.Base(u.Path), "/.")
	switch u.Scheme {
	case "http", "https":
		h, err := newHTTP(u)
		if err != nil {
			return nil, "", "", err
		}
		return &httpTree{httpSource: h}, channel, version, nil
	case "file":
		d, err := openDir(u.Path)
		if err != nil {
			return nil, "", "", err
		}
		return &dirTree{d}, channel, version, nil
	}
	return nil, "", "", fmt.Errorf("source %s%s: want %[1]shttps, %[1]shttp or %[1]sfile", unsignedPrefix, u.Redacted())
}

// httpTree reads files that nobody has signed from a web server.
type httpTree struct {
	*httpSource
	noHead atomic.Bool // the server does not answer HEAD
}

func (h *httpTree) String() string { return unsignedPrefix + h.httpSource.String() }

// Stat implements [fetcher.UnsignedTree]. A server that does not answer HEAD is
// asked for the first byte, and so is one that says that there is none: some have no
// length for HEAD and write 0.
func (h *httpTree) Stat(ctx context.Context, key string) (fetcher.Stamp, error) {
	if !h.noHead.Load() {
		stamp := fetcher.Stamp{Size: -1}
		err := h.ask(ctx, http.MethodHead, key, http.Header{}, func(resp *http.Response) error {
			if resp.StatusCode == http.StatusNotImplemented {
				return backoff.Permanent(statusError(resp))
			}
			if resp.StatusCode != http.StatusOK {
				return statusError(resp)
			}
			stamp = stampOf(resp, resp.ContentLength)
			return nil
		})
		// Also a server that answers without a length is asked another way.
		if err == nil && stamp.Size > 0 || errors.Is(err, fetcher.ErrNotFound) {
			return stamp, err
		}
		if err != nil && !errors.As(err, new(*backoff.PermanentError)) {
			return stamp, err
		}
		if stamp.Size != 0 {
			h.noHead.Store(true)
		}
	}
	var stamp fetcher.Stamp
	err := h.ask(ctx, http.MethodGet, key, http.Header{"Range": {"bytes=0-0"}}, func(resp *http.Response) error {
		size := resp.ContentLength
		switch resp.StatusCode {
		case http.StatusOK: // it knows no ranges
		case http.StatusPartialContent:
			size = rangeTotal(resp)
		case http.StatusRequestedRangeNotSatisfiable: // an empty file has no first byte
			size = max(0, rangeTotal(resp))
		default:
			return statusError(resp)
		}
		if size < 0 {
			return backoff.Permanent(errors.New("server does not say how long the file is"))
		}
		stamp = stampOf(resp, size)
		return nil
	})
	return stamp, err
}

// ask sends a request whose answer's body is of no use.
func (h *httpTree) ask(ctx context.Context, method, key string, header http.Header, check func(*http.Response) error) error {
	body, err := h.do(ctx, method, key, header, check)
	if err != nil {
		return err
	}
	return body.Close()
}

func stampOf(resp *http.Response, size int64) fetcher.Stamp {
	return fetcher.Stamp{Size: size, ETag: resp.Header.Get("ETag"), Modified: resp.Header.Get("Last-Modified")}
}

// rangeTotal is the length of the whole that a part is of, or -1.
func rangeTotal(resp *http.Response) int64 {
	_, total, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
	n, err := strconv.ParseInt(total, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// OpenStamped implements [fetcher.UnsignedTree].
func (h *httpTree) OpenStamped(ctx context.Context, span fetcher.Span, stamp fetcher.Stamp) (io.ReadCloser, error) {
	header := http.Header{}
	if !span.Whole() {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", span.Offset, span.Offset+span.Length-1))
	}
	if stamp.ETag != "" && !strings.HasPrefix(stamp.ETag, "W/") {
		header.Set("If-Match", stamp.ETag)
	}
	skip := int64(0)
	body, err := h.do(ctx, http.MethodGet, span.Key, header, func(resp *http.Response) error {
		switch {
		case resp.StatusCode == http.StatusPreconditionFailed:
			return changed("the server has another one now")
		case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
			return changed("it does not reach so far any more")
		case resp.StatusCode == http.StatusPartialContent && !span.Whole():
			if total := rangeTotal(resp); total >= 0 && total != span.Size {
				return changed(fmt.Sprintf("it had %d bytes and has %d", span.Size, total))
			}
			return errors.Join(checkRange(resp, span), checkStamp(resp, stamp))
		case resp.StatusCode == http.StatusOK:
			skip = span.Offset
			if n := resp.ContentLength; n >= 0 && n != span.Size {
				return changed(fmt.Sprintf("it had %d bytes and has %d", span.Size, n))
			}
			return checkStamp(resp, stamp)
		}
		return statusError(resp)
	})
	if err != nil {
		return nil, err
	}
	return cut(body, skip, span)
}

func changed(how string) error { return fmt.Errorf("%w: %s", fetcher.ErrChanged, how) }

// checkStamp compares what an answer says of a file with what was said before. What
// one of them does not say is no difference.
func checkStamp(resp *http.Response, stamp fetcher.Stamp) error {
	now := stampOf(resp, stamp.Size)
	if stamp.ETag != "" && now.ETag != "" && now.ETag != stamp.ETag {
		return changed("it has another ETag")
	}
	if stamp.Modified != "" && now.Modified != "" && now.Modified != stamp.Modified {
		return changed("it was modified " + strconv.Quote(now.Modified))
	}
	return nil
}

// dirTree reads files that nobody has signed from a directory.
type dirTree struct{ *dir }

func (d *dirTree) String() string { return unsignedPrefix + "file://" + d.path }

// Stat implements [fetcher.UnsignedTree].
func (d *dirTree) Stat(_ context.Context, key string) (fetcher.Stamp, error) {
	f, err := d.open(key)
	if err != nil {
		return fetcher.Stamp{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return fetcher.Stamp{}, backoff.Permanent(err)
	}
	return fetcher.Stamp{Size: info.Size(), Modified: info.ModTime().UTC().Format(time.RFC3339Nano)}, nil
}

// OpenStamped implements [fetcher.UnsignedTree].
func (d *dirTree) OpenStamped(ctx context.Context, span fetcher.Span, stamp fetcher.Stamp) (io.ReadCloser, error) {
	now, err := d.Stat(ctx, span.Key)
	if err != nil {
		return nil, err
	}
	if now != stamp {
		return nil, changed("it had " + stamp.Modified + " as its time and has " + now.Modified)
	}
	return d.Open(ctx, span)
}
