package cdn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/fetcher/source/sourcetest"
)

// newKey makes a key as OpenSSL does, in a file.
func newKey(t *testing.T, bits int, pkcs8 bool) (*rsa.PrivateKey, string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}
	if pkcs8 {
		if block.Bytes, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
			t.Fatal(err)
		}
		block.Type = "PRIVATE KEY"
	}
	return private, writeFile(t, string(pem.EncodeToMemory(block)), 0o600)
}

func writeFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

const keyID = "K2JCJMDEHXQW5F"

// edge is a private distribution, and the key that opens it.
func edge(t *testing.T) (*sourcetest.Edge, *Key, *url.URL) {
	t.Helper()
	private, file := newKey(t, 2048, true)
	key, err := ReadKey(keyID, file)
	if err != nil {
		t.Fatal(err)
	}
	e := &sourcetest.Edge{
		Keys:    map[string]*rsa.PublicKey{keyID: &private.PublicKey},
		Content: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.String()) }),
	}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return e, key, base
}

func get(t *testing.T, address string, cookies []*http.Cookie) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cookies {
		req.AddCookie(c)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestCookies holds what is signed against the rules that CloudFront checks by.
func TestCookies(t *testing.T) {
	e, key, host := edge(t)
	for name, c := range map[string]struct {
		base, path string
		until      time.Duration
		from       string
		spoil      func(cookies []*http.Cookie)
		want       int
	}{
		"all":              {"", "/catalog", time.Hour, "", nil, 200},
		"below":            {"", "/segments/ab/ab.zst", time.Hour, "", nil, 200},
		"prefix":           {"/mirrors/qsync", "/mirrors/qsync/catalog", time.Hour, "", nil, 200},
		"prefix with /":    {"/mirrors/qsync/", "/mirrors/qsync/catalog", time.Hour, "", nil, 200},
		"beside a prefix":  {"/mirrors/qsync", "/mirrors/other/catalog", time.Hour, "", nil, 403},
		"similar prefix":   {"/mirrors/qsync", "/mirrors/qsync2/catalog", time.Hour, "", nil, 403},
		"over":             {"", "/catalog", -time.Second, "", nil, 403},
		"from here":        {"", "/catalog", time.Hour, "127.0.0.0/8", nil, 200},
		"from one address": {"", "/catalog", time.Hour, "127.0.0.1/32", nil, 200},
		"from elsewhere":   {"", "/catalog", time.Hour, "192.0.2.0/24", nil, 403},
		"without":          {"", "/catalog", time.Hour, "", func(cs []*http.Cookie) { cs[0].Name, cs[1].Name, cs[2].Name = "a", "b", "c" }, 403},
		"unknown key":      {"", "/catalog", time.Hour, "", func(cs []*http.Cookie) { cs[2].Value = "K0" }, 403},
		"other signature":  {"", "/catalog", time.Hour, "", func(cs []*http.Cookie) { cs[1].Value = strings.Repeat("A", 342) + "__" }, 403},
		"other policy": {"", "/catalog", time.Hour, "", func(cs []*http.Cookie) {
			later, err := key.Cookies(host, time.Now().Add(100*time.Hour), netip.Prefix{})
			if err != nil {
				t.Fatal(err)
			}
			cs[0].Value = later[0].Value
		}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			base := *host
			base.Path = c.base
			var from netip.Prefix
			if c.from != "" {
				from = netip.MustParsePrefix(c.from)
			}
			cookies, err := key.Cookies(&base, time.Now().Add(c.until), from)
			if err != nil {
				t.Fatal(err)
			}
			if c.spoil != nil {
				c.spoil(cookies)
			}
			if got := get(t, host.String()+c.path, cookies); got != c.want {
				t.Errorf("status %d, want %d: %v", got, c.want, e.Refused())
			}
		})
	}
}

func TestSignedURLs(t *testing.T) {
	e, key, host := edge(t)
	for name, c := range map[string]struct {
		until time.Duration
		spoil func(signed string) string
		want  int
	}{
		"good":         {time.Minute, nil, 200},
		"over":         {-time.Second, nil, 403},
		"another path": {time.Minute, func(s string) string { return strings.Replace(s, "/a/b", "/a/c", 1) }, 403},
		"another time": {time.Minute, func(s string) string { return strings.Replace(s, "Expires=", "Expires=1", 1) }, 403},
		"unsigned":     {time.Minute, func(s string) string { return strings.Split(s, "?")[0] }, 403},
	} {
		signed, err := key.URLs().Sign(host.String()+"/a/b", time.Now().Add(c.until))
		if err != nil {
			t.Fatal(err)
		}
		if c.spoil != nil {
			signed = c.spoil(signed)
		}
		if got := get(t, signed, nil); got != c.want {
			t.Errorf("%s: status %d, want %d: %v", name, got, c.want, e.Refused())
		}
	}
	// A signature in the URL counts before cookies.
	cookies, err := key.Cookies(host, time.Now().Add(time.Hour), netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, host.String()+"/a?Key-Pair-Id="+keyID, cookies); got == 200 {
		t.Error("half a signature in the URL was let in by cookies")
	}
}

func TestReadKey(t *testing.T) {
	_, pkcs1 := newKey(t, 2048, false)
	if _, err := ReadKey(keyID, pkcs1); err != nil {
		t.Errorf("the older form: %v", err)
	}
	_, short := newKey(t, 1024, true)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(pkcs1)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, says, hint string }{
		"none":           {filepath.Join(t.TempDir(), "none"), "no such file", ""},
		"seen by others": {writeFile(t, string(good), 0o640), "can be read by others, its mode is 0640", "chmod 600"},
		"no PEM":         {writeFile(t, "hunter2", 0o600), "it is no PEM", "openssl genrsa 2048"},
		"other PEM":      {writeFile(t, "-----BEGIN X-----\naHVudGVyMg==\n-----END X-----\n", 0o600), "it is no private key", "openssl"},
		"other kind":     {writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600), "it is no RSA key", "openssl"},
		"other size":     {short, "it has 1024 bits, and CloudFront takes 2048", "openssl"},
	} {
		_, err := ReadKey(keyID, c.file)
		wantError(t, name, err, c.says, c.hint)
	}
}

func wantError(t *testing.T, name string, err error, says, hint string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%s: %v, want %q", name, err, says)
	}
	var advice interface{ Hint() string }
	if hint != "" && (!errors.As(err, &advice) || !strings.Contains(advice.Hint(), hint)) {
		t.Errorf("%s: %v: want the hint %q", name, err, hint)
	}
}

// TestExpiredCookies leaves out what a browser would, and says so where the rest is of
// no use.
func TestExpiredCookies(t *testing.T) {
	_, key, host := edge(t)
	line := func(name string, expires time.Time) string {
		return strings.Join([]string{host.Hostname(), "FALSE", "/", "TRUE", fmt.Sprint(expires.Unix()), name, "x"}, "\t") + "\n"
	}
	set := func(until time.Time) string {
		cookies, err := key.Cookies(host, until, netip.Prefix{})
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := WriteCookies(&text, cookies); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	now := time.Now()
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	for name, c := range map[string]struct {
		file  string
		found int // 0: they have expired
	}{
		"a good set":                          {set(future), 3},
		"a good set and another, expired one": {set(future) + line("session", past), 3},
		"the other one first":                 {line("session", past) + set(future), 3},
		"an expired set and another good one": {set(past) + line("session", future), 0},
		"an expired set and a good one":       {set(past) + set(future), 3},
		"one that has expired":                {line("session", past), 0},
		"part of a set":                       {strings.ReplaceAll(set(past), fmt.Sprint(past.Unix()), "0") + line("session", future), 0},
	} {
		read, err := ReadCookies(writeFile(t, c.file, 0o600))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found, err := read.For(host, now)
		if c.found == 0 {
			wantError(t, name, err, "have expired at "+past.UTC().Format(time.RFC3339), "ask the publisher")
		} else if err != nil || len(found) != c.found {
			t.Errorf("%s: %d cookies, %v", name, len(found), err)
		}
	}
}

// TestCookieFile: what is written is read, and opens the place.
func TestCookieFile(t *testing.T) {
	e, key, host := edge(t)
	host.Path = "/x"
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	cookies, err := key.Cookies(host, until, netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := WriteCookies(&text, cookies); err != nil {
		t.Fatal(err)
	}
	header := "Cookie: "
	for _, c := range cookies {
		header += c.Name + "=" + c.Value + "; "
	}
	for name, text := range map[string]string{
		"curl's": text.String(), "with CRLF": strings.ReplaceAll(text.String(), "\n", "\r\n"),
		"a header": header + "\n", "its value": strings.TrimSuffix(strings.TrimPrefix(header, "Cookie: "), "; "),
	} {
		read, err := ReadCookies(writeFile(t, text, 0o600))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found, err := read.For(host, time.Now())
		if err != nil || len(found) != 3 {
			t.Errorf("%s: %d cookies, %v", name, len(found), err)
			continue
		}
		if got := get(t, host.String()+"/catalog", found); got != 200 {
			t.Errorf("%s: status %d: %v", name, got, e.Refused())
		}
		if anyHost := strings.HasSuffix(name, "r") || name == "its value"; read.AnyHost() != anyHost {
			t.Errorf("%s: for any host is %t", name, read.AnyHost())
		}
		// A line without times has that of the policy.
		if _, err := read.For(host, until); err == nil || !strings.Contains(err.Error(), "have expired at "+until.UTC().Format(time.RFC3339)) {
			t.Errorf("%s: %v, want that they have expired", name, err)
		}
	}
}

func TestCookiesBelong(t *testing.T) {
	const line = "%D\t%S\t%P\tTRUE\t0\tname\thunter2\n"
	for _, c := range []struct {
		domain, subdomains, path string
		url                      string
		want                     bool
	}{
		{"d1.example", "FALSE", "/", "https://d1.example", true},
		{"D1.example", "FALSE", "/", "https://d1.EXAMPLE/a", true},
		{"d1.example", "FALSE", "/", "https://d1.example:8443/a", true},
		{"d1.example", "FALSE", "/", "https://x.d1.example", false},
		{"d1.example", "FALSE", "/", "https://d2.example", false},
		{".d1.example", "TRUE", "/", "https://x.d1.example", true},
		{".d1.example", "TRUE", "/", "https://d1.example", true},
		{".d1.example", "FALSE", "/", "https://x.d1.example", false},
		{".d1.example", "TRUE", "/", "https://xd1.example", false},
		{"d1.example", "FALSE", "/a", "https://d1.example/a", true},
		{"d1.example", "FALSE", "/a/", "https://d1.example/a/b", true},
		{"d1.example", "FALSE", "/a", "https://d1.example/ab", false},
		{"d1.example", "FALSE", "/a", "https://d1.example", false},
	} {
		text := strings.NewReplacer("%D", c.domain, "%S", c.subdomains, "%P", c.path).Replace(line)
		read, err := ReadCookies(writeFile(t, "# a comment\n\n"+httpOnly+text, 0o600))
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := read.For(u, time.Now()); err != nil || len(found) > 0 != c.want {
			t.Errorf("%+v: %d cookies, %v", c, len(found), err)
		}
	}
}

func TestCookieFileFaults(t *testing.T) {
	const hint = "it has to be what qsyncd cookies prints"
	for name, text := range map[string]string{
		"empty":           "",
		"comments":        "# Netscape HTTP Cookie File\n",
		"a word":          "hunter2\n",
		"few fields":      "d1.example\tFALSE\t/\thunter2\n",
		"no time":         "d1.example\tFALSE\t/\tTRUE\tsoon\tname\thunter2\n",
		"two headers":     "a=b\nc=d\n",
		"both":            "a=hunter2\nd1.example\tFALSE\t/\tTRUE\t0\ta\tb\n",
		"both, other way": "d1.example\tFALSE\t/\tTRUE\t0\ta\tb\na=hunter2\n",
	} {
		_, err := ReadCookies(writeFile(t, text, 0o600))
		wantError(t, name, err, "read the cookies: ", hint)
	}
	_, err := ReadCookies(filepath.Join(t.TempDir(), "none"))
	wantError(t, "none", err, "no such file", "")
}
