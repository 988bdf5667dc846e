package source

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
)

// store writes objects into a directory.
func store(t *testing.T, objects map[string][]byte) string {
	t.Helper()
	base := t.TempDir()
	for key, body := range objects {
		path := filepath.Join(base, key)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return base
}

func TestDir(t *testing.T) {
	for _, scheme := range []string{"", "file://"} {
		sourcetest.Run(t, func(t *testing.T, objects map[string][]byte) fetcher.Source {
			return mustOpen(t, scheme+store(t, objects))
		})
	}
}

func TestHTTP(t *testing.T) {
	for _, prefix := range []string{"", "/below/a/prefix", "/below/a/prefix/"} {
		sourcetest.Run(t, func(t *testing.T, objects map[string][]byte) fetcher.Source {
			files := http.StripPrefix(strings.TrimSuffix(prefix, "/"), http.FileServer(http.Dir(store(t, objects))))
			server := httptest.NewServer(files)
			t.Cleanup(server.Close)
			return mustOpen(t, server.URL+prefix)
		})
	}
}

func mustOpen(t *testing.T, url string) fetcher.Source {
	t.Helper()
	s, err := Open(url)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDirStaysInside reads a link that leads out of the published tree.
func TestDirStaysInside(t *testing.T) {
	base := store(t, map[string][]byte{"head": nil})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(base, "catalog")); err != nil {
		t.Fatal(err)
	}
	if body, err := mustOpen(t, base).Get(context.Background(), "catalog", 100); err == nil {
		t.Errorf("got %q", body)
	}
}

func TestHTTPStall(t *testing.T) {
	url := sourcetest.Stall.Serve(t, store(t, map[string][]byte{"segments/a": make([]byte, 1<<20)}))
	s := mustOpen(t, url).(*httpSource)
	s.stall = 50 * time.Millisecond
	body, err := s.Open(context.Background(), fetcher.Span{Key: "segments/a", Length: 1 << 20, Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	for err == nil {
		_, err = body.Read(buf)
	}
	if !strings.Contains(err.Error(), "no data for 50ms") {
		t.Errorf("error is %v", err)
	}
}

// TestSecretsStayOut looks for credentials in names and errors.
func TestSecretsStayOut(t *testing.T) {
	for _, url := range []string{
		"http://user:hunter2@127.0.0.1:1/p?token=hunter2",
		"ftp://user:hunter2@127.0.0.1/",
		"http://user:hunter2@[::1/",
		"file://user:hunter2@elsewhere/x",
	} {
		s, err := Open(url)
		var text string
		if err != nil {
			text = err.Error()
		} else {
			_, err := s.Get(context.Background(), "catalog", 10)
			text = s.String() + err.Error()
		}
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s", url, text)
		}
	}
}

func TestNoDowngrade(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer secure.Close()
	s := mustOpen(t, secure.URL).(*httpSource)
	s.client.Transport = secure.Client().Transport
	if _, err := s.Get(context.Background(), "catalog", 10); err == nil || !strings.Contains(err.Error(), "redirect from https") {
		t.Errorf("error is %v", err)
	}
}

// TestNoReferer has a server send the reader elsewhere: there nobody learns the query
// of the source's URL.
func TestNoReferer(t *testing.T) {
	var seen http.Header
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer server.Close()
	if _, err := mustOpen(t, server.URL+"/p?token=hunter2").Get(t.Context(), "catalog", 10); err != nil {
		t.Fatal(err)
	}
	if from, told := seen["Referer"]; told {
		t.Errorf("the other server is told %q", from)
	}
}
