package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/cdn"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
	"github.com/qsync/qsync/publish/dir"
)

const keyPair = "K2JCJMDEHXQW5F"

// private is a publisher whose snapshots only those get who are let in.
type private struct {
	*testing.T
	edge     *sourcetest.Edge
	url      string
	keyFile  string
	key      *cdn.Key
	tree     string
	verifier string
	files    map[string]string
}

func publishPrivately(t *testing.T) *private {
	t.Helper()
	p := &private{T: t, keyFile: filepath.Join(t.TempDir(), "cdn.pem")}
	p.tree, p.verifier, p.files = publishTree(t)
	secret, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	check(t, os.WriteFile(p.keyFile, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(secret)}), 0o600))
	p.key, err = cdn.ReadKey(keyPair, p.keyFile)
	check(t, err)
	p.edge = &sourcetest.Edge{Keys: map[string]*rsa.PublicKey{keyPair: &secret.PublicKey}, Content: dir.Handler(p.tree)}
	server := httptest.NewServer(p.edge)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// cookies are a file of them for a place.
func (p *private) cookies(place string, until time.Time) string {
	p.Helper()
	base, err := url.Parse(place)
	check(p.T, err)
	signed, err := p.key.Cookies(base, until, netip.Prefix{})
	check(p.T, err)
	var text bytes.Buffer
	check(p.T, cdn.WriteCookies(&text, signed))
	return p.file(text.String())
}

func (p *private) file(text string) string {
	p.Helper()
	file := filepath.Join(p.TempDir(), "f")
	check(p.T, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func (p *private) wantRestored(target string) {
	p.Helper()
	for path, body := range p.files {
		if got, err := os.ReadFile(filepath.Join(target, path)); err != nil || string(got) != body {
			p.Errorf("%s: got %d bytes, %v", path, len(got), err)
		}
	}
}

func TestFetchPrivate(t *testing.T) {
	p := publishPrivately(t)
	var told atomic.Int64 // secrets that the open mirror was told
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" || r.URL.RawQuery != "" {
			told.Add(1)
		}
		dir.Handler(p.tree).ServeHTTP(w, r)
	}))
	defer mirror.Close()
	mirror.URL = strings.Replace(mirror.URL, "127.0.0.1", "localhost", 1) // to cookies the port is no matter
	later := time.Now().Add(time.Hour)
	jar := p.cookies(p.url, later)
	var line strings.Builder
	host, err := url.Parse(p.url)
	check(t, err)
	signed, err := p.key.Cookies(host, later, netip.Prefix{})
	check(t, err)
	for _, c := range signed {
		fmt.Fprintf(&line, "%s=%s; ", c.Name, c.Value)
	}
	header := p.file(line.String())
	configured := func(access string) string {
		return p.file(fmt.Sprintf("publishers:\n  - {name: one, url: \"%s\", trust: %s, %s}\n", p.url, p.verifier, access))
	}
	two := p.file(fmt.Sprintf("publishers:\n  - {name: one, url: \"%s\", trust: %s}\n  - {name: two, url: \"%s\", trust: %[2]s}\n", p.url, p.verifier, mirror.URL))
	from, trust := []string{"--from", p.url, "--trust", p.verifier}, []string{"--trust", p.verifier}

	for name, c := range map[string]struct {
		args       []string
		code       int
		says, hint string
	}{
		"cookies":               {append(from, "--cookie-file", jar), 0, "", ""},
		"cookies in a line":     {append(from, "--cookie-file", header), 0, "", ""},
		"signed URLs":           {append(from, "--sign-urls", keyPair+":"+p.keyFile), 0, "", ""},
		"cookies, configured":   {[]string{"--config", configured("cookie_file: " + jar)}, 0, "", ""},
		"key, configured":       {[]string{"--config", configured("signer: {key_pair_id: " + keyPair + ", key_file: " + p.keyFile + "}")}, 0, "", ""},
		"configured, and trust": {append(trust, "--config", configured("cookie_file: "+jar)), 0, "", ""},
		"flag over configured":  {[]string{"--config", configured("cookie_file: /none"), "--cookie-file", jar}, 0, "", ""},
		"with an open mirror":   {append(from, "--from", mirror.URL, "--cookie-file", jar), 0, "", ""},
		"without":               {from, term.ExitNoSource, "the place is private", "--cookie-file"},
		"expired":               {append(from, "--cookie-file", p.cookies(p.url, time.Now().Add(-time.Hour))), term.ExitError, "have expired at", "ask the publisher for new ones"},
		"for another path":      {append(from, "--cookie-file", p.cookies(p.url+"/x", later)), term.ExitError, "has none for 127.0.0.1", "for a host and a path"},
		"for another host":      {append(from, "--cookie-file", p.cookies("https://d1.example", later)), term.ExitError, "has none for 127.0.0.1", ""},
		"line for two hosts":    {append(from, "--from", mirror.URL, "--cookie-file", header), term.ExitUsage, "the sources name 2", "say which host"},
		"key for two hosts":     {append(from, "--from", mirror.URL, "--sign-urls", keyPair+":"+p.keyFile), term.ExitUsage, "the sources name 2", ""},
		"key for no host":       {append(trust, "--from", p.tree, "--sign-urls", keyPair+":"+p.keyFile), term.ExitUsage, "the sources name 0", ""},
		"for two publishers":    {[]string{"--config", two, "--cookie-file", jar}, term.ExitUsage, "--cookie-file is for one publisher, and 2 are configured", "cookie_file"},
		"in clear text":         {append(trust, "--from", "http://d1.example", "--sign-urls", keyPair+":"+p.keyFile), term.ExitUsage, "by https only", ""},
		"half a key":            {append(from, "--sign-urls", keyPair), term.ExitUsage, "want KEY_PAIR_ID:KEY_FILE", ""},
		"another key":           {append(from, "--sign-urls", "K0:"+p.keyFile), term.ExitNoSource, "the signature of the URL is not accepted", "compare the key"},
		"no such key":           {append(from, "--sign-urls", keyPair+":/none"), term.ExitError, "read the key " + keyPair, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_STATE_HOME", t.TempDir())
			target := filepath.Join(t.TempDir(), "db")
			err := runFetch(t, append(c.args, "demo", "--to", target)...)
			if code := term.ExitCode(err); code != c.code {
				t.Fatalf("exit code is %d, want %d: %v", code, c.code, err)
			}
			if err == nil {
				p.wantRestored(target)
				return
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(term.Hint(err), c.hint) {
				t.Errorf("%v, hint %q: want %q, %q", err, term.Hint(err), c.says, c.hint)
			}
			if strings.Contains(err.Error(), signed[1].Value[:20]) || strings.Contains(err.Error(), "Signature=") {
				t.Errorf("a secret is told: %v", err)
			}
		})
	}
	if n := told.Load(); n > 0 {
		t.Errorf("another host was shown secrets %d times", n)
	}
}

// TestFetchPrivateUntilExpired: cookies that end in the middle of a fetch end it,
// with words that help; new ones let it go on where it stopped.
func TestFetchPrivateUntilExpired(t *testing.T) {
	p := publishPrivately(t)
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	target := filepath.Join(t.TempDir(), "db")
	until := time.Now().Add(3 * time.Second).Truncate(time.Second)
	segments := atomic.Int64{}
	good := p.edge.Content
	p.edge.Content = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/segments/") {
			segments.Add(1)
			// What has begun goes on; the next request comes too late.
			time.Sleep(time.Until(until.Add(10 * time.Millisecond)))
		}
		good.ServeHTTP(w, r)
	})
	fetch := func(cookies string) error {
		return runFetch(t, "demo", "--from", p.url, "--trust", p.verifier, "--to", target, "--jobs", "1", "--cookie-file", cookies)
	}
	err := fetch(p.cookies(p.url, until))
	if term.ExitCode(err) != term.ExitNoSource || !strings.Contains(err.Error(), "the cookies have expired at "+until.UTC().Format(time.RFC3339)) {
		t.Fatalf("%v, want that the cookies have expired", err)
	}
	if hint := term.Hint(err); !strings.Contains(hint, "ask the publisher for new ones; the same command then goes on") {
		t.Errorf("the hint is %q", hint)
	}
	before := segments.Load()
	if before != 1 {
		t.Fatalf("%d segments were served before", before)
	}
	check(t, fetch(p.cookies(p.url, time.Now().Add(time.Hour))))
	p.wantRestored(target)
	if after := segments.Load(); after != 2 {
		t.Errorf("%d segments were served in all, want each once", after)
	}
}
