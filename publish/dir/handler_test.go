package dir_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
)

// site is a served target, with things beside and inside it that nobody may get.
type site struct {
	base, segment, index, manifest string // base directory, keys
	body                           string // of the segment
	server                         *httptest.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	outer := t.TempDir()
	s := &site{base: filepath.Join(outer, "base"), body: strings.Repeat("0123456789", 1000)}
	d := manifest.Sum([]byte(s.body))
	s.segment, s.index, s.manifest = manifest.SegmentKey(d), manifest.IndexKey(d), manifest.ManifestKey(d)
	target, err := dir.New(s.base)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{s.segment, s.index, s.manifest} {
		if err := target.Put(t.Context(), key, []byte(s.body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"catalog", "keys", "some-channel/head", publish.StatusPageKey, publish.StatusKey, "some-channel/x.html"} {
		if err := target.Swap(t.Context(), key, "", []byte("text of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	for file, content := range map[string]string{
		filepath.Join(outer, "secret"):       "secret",
		filepath.Join(s.base, ".secret"):     "secret",
		filepath.Join(s.base, ".git/secret"): "secret",
		filepath.Join(s.base, "big"):         strings.Repeat("secret", 1<<20),
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret", filepath.Join(s.base, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("catalog", filepath.Join(s.base, "inside")); err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewServer(dir.Handler(s.base))
	t.Cleanup(s.server.Close)
	return s
}

func (s *site) do(t *testing.T, method, key string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+"/"+key, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestHandlerHeaders(t *testing.T) {
	s := newSite(t)
	const forever, shortly = "public, max-age=31536000, immutable", "public, max-age=30"
	for _, c := range []struct{ key, cache, contentType, body string }{
		{s.segment, forever, "application/zstd", s.body},
		{s.index, forever, "application/zstd", s.body},
		{s.manifest, forever, "application/json", s.body},
		{"catalog", shortly, "text/plain; charset=utf-8", "text of catalog"},
		{"keys", shortly, "text/plain; charset=utf-8", "text of keys"},
		{"some-channel/head", shortly, "text/plain; charset=utf-8", "text of some-channel/head"},
		{"status/index.html", shortly, "text/html; charset=utf-8", "text of status/index.html"},
		{"status/status.json", shortly, "application/json", "text of status/status.json"},
		{"some-channel/x.html", shortly, "text/plain; charset=utf-8", "text of some-channel/x.html"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			answer, body := s.do(t, method, c.key)
			want := c.body
			if method == http.MethodHead {
				want = ""
			}
			if answer.StatusCode != http.StatusOK || body != want {
				t.Errorf("%s %s: %s, %d bytes", method, c.key, answer.Status, len(body))
			}
			if answer.ContentLength != int64(len(c.body)) {
				t.Errorf("%s %s: length %d, want %d", method, c.key, answer.ContentLength, len(c.body))
			}
			for name, want := range map[string]string{
				"Cache-Control": c.cache, "Content-Type": c.contentType, "Accept-Ranges": "bytes",
				"ETag": `"` + manifest.Sum([]byte(c.body)).Hex() + `"`, "X-Content-Type-Options": "nosniff",
			} {
				if got := answer.Header.Get(name); got != want {
					t.Errorf("%s %s: %s: %q, want %q", method, c.key, name, got, want)
				}
			}
		}
	}
}

func TestHandlerRanges(t *testing.T) {
	s := newSite(t)
	tag := `"` + manifest.Sum([]byte(s.body)).Hex() + `"`
	for _, c := range []struct {
		header []string
		status int
		body   string
	}{
		{[]string{"Range", "bytes=10-14"}, 206, "01234"},
		{[]string{"Range", "bytes=9998-"}, 206, "89"},
		{[]string{"Range", "bytes=-3"}, 206, "789"},
		{[]string{"Range", "bytes=9999-20000"}, 206, "9"},
		{[]string{"Range", "bytes=10-14", "If-Range", tag}, 206, "01234"},
		{[]string{"Range", "bytes=10-14", "If-Range", `"other"`}, 200, s.body},
		{[]string{"Range", "bytes=10000-"}, 416, "*"},
		{[]string{"If-None-Match", tag}, 304, ""},
		{[]string{"If-None-Match", `"other"`}, 200, s.body},
		{[]string{"If-Match", `"other"`}, 412, ""},
	} {
		answer, body := s.do(t, http.MethodGet, s.segment, c.header...)
		if answer.StatusCode != c.status || (c.body != "*" && body != c.body) {
			t.Errorf("%q: %s, %d bytes", c.header, answer.Status, len(body))
		}
		if c.status == 416 && strings.Contains(answer.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%q: an error is cached for ever", c.header)
		}
	}
	answer, _ := s.do(t, http.MethodGet, s.segment, "Range", "bytes=10-14")
	if got := answer.Header.Get("Content-Range"); got != "bytes 10-14/10000" {
		t.Errorf("Content-Range: %q", got)
	}
	_, tags := s.do(t, http.MethodGet, "catalog")
	if answer, _ := s.do(t, http.MethodGet, "catalog", "If-None-Match", `"`+manifest.Sum([]byte(tags)).Hex()+`"`); answer.StatusCode != http.StatusNotModified {
		t.Errorf("catalog unchanged: %s", answer.Status)
	}
}

func TestHandlerRefuses(t *testing.T) {
	s := newSite(t)
	for _, key := range []string{
		"", "segments", "segments/", "some-channel/", "nothing", s.segment + "/", s.segment + "/x",
		".secret", ".git/secret", ".qsync/lock", ".qsync/tmp/", "%2esecret", "segments/../.secret",
		"../secret", "..%2fsecret", "%2e%2e/secret", "segments/%2e%2e/%2e%2e/secret", "..%5csecret", "/secret", "link", "inside", strings.Repeat("x", 300), "big", "catalog%00",
	} {
		if answer, body := s.do(t, http.MethodGet, key); answer.StatusCode != http.StatusNotFound || strings.Contains(body, "secret") {
			t.Errorf("GET /%s: %s: %q", key, answer.Status, body)
		} else if answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("GET /%s: its absence may be cached", key)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		if answer, _ := s.do(t, method, s.segment); answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %s, Allow %q", method, answer.Status, answer.Header.Get("Allow"))
		}
	}
}

// TestHandlerRawTraversal: no client library cleans these paths.
func TestHandlerRawTraversal(t *testing.T) {
	s := newSite(t)
	for _, target := range []string{"/../secret", "/segments/../../secret", "//secret", "/./.secret", "secret", "/..\\secret"} {
		conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		status, _, _ := strings.Cut(string(answer), "\r\n")
		if !strings.HasPrefix(status, "HTTP/1.1 404") && !strings.HasPrefix(status, "HTTP/1.1 400") {
			t.Errorf("GET %s: %s", target, answer)
		}
	}
}
