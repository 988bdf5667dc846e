package source

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/cloudfront/sign"
	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
)

const keyID = "K2JCJMDEHXQW5F"

var privateKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// cookiesFor are what a publisher gives out for a base URL.
func cookiesFor(t *testing.T, base string, until time.Time) []*http.Cookie {
	t.Helper()
	policy := sign.NewCannedPolicy(base+"/*", until)
	cookies, err := sign.NewCookieSigner(keyID, privateKey()).SignWithPolicy(policy)
	check(t, err)
	for _, c := range cookies {
		c.Expires = until
	}
	return cookies
}

// edge is a private distribution over content. It knows the keys of nobody if the
// key is not ours.
func edge(t *testing.T, content http.Handler) (*sourcetest.Edge, string) {
	t.Helper()
	e := &sourcetest.Edge{Keys: map[string]*rsa.PublicKey{keyID: &privateKey().PublicKey}, Content: content}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return e, server.URL
}

func TestPrivate(t *testing.T) {
	for name, access := range map[string]func(t *testing.T, base string) Access{
		"cookies": func(t *testing.T, base string) Access {
			return Access{Cookies: cookiesFor(t, base, time.Now().Add(time.Hour))}
		},
		"signed URLs": func(*testing.T, string) Access {
			return Access{Signer: sign.NewURLSigner(keyID, privateKey())}
		},
	} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T, objects map[string][]byte) fetcher.Source {
				e, base := edge(t, http.FileServer(http.Dir(store(t, objects))))
				t.Cleanup(func() {
					if refused := e.Refused(); refused != nil || e.Served() == 0 {
						t.Errorf("%d requests were served; refused: %q", e.Served(), refused)
					}
				})
				s, err := Options{Access: access(t, base)}.Open(base + "/")
				check(t, err)
				return s
			})
		})
	}
}

// TestPrivateRedirect: where else a server sends the reader, nothing of what opens
// it is seen; on the server itself all is opened.
func TestPrivateRedirect(t *testing.T) {
	var mu sync.Mutex
	var seen []*http.Request
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r)
	}))
	defer elsewhere.Close()
	content := http.NewServeMux()
	content.Handle("/away", http.RedirectHandler(elsewhere.URL+"/target", http.StatusFound))
	content.Handle("/around", http.RedirectHandler("/here", http.StatusFound))
	content.HandleFunc("/here", func(http.ResponseWriter, *http.Request) {})
	e, base := edge(t, content)
	for name, access := range map[string]Access{
		"cookies": {Cookies: cookiesFor(t, base, time.Now().Add(time.Hour))},
		"signer":  {Signer: sign.NewURLSigner(keyID, privateKey())},
	} {
		s, err := Options{Access: access}.Open(base)
		check(t, err)
		if _, err := s.Get(t.Context(), "around", 10); err != nil {
			t.Errorf("%s: a redirect on the server: %v, %q", name, err, e.Refused())
		}
		seen = nil
		if _, err := s.Get(t.Context(), "away", 10); err != nil || len(seen) != 1 {
			t.Fatalf("%s: %d requests elsewhere, %v", name, len(seen), err)
		}
		text := seen[0].URL.String()
		for header, values := range seen[0].Header {
			text += header + strings.Join(values, " ")
		}
		for _, secret := range []string{"Cookie", "CloudFront", keyID, "Signature", "Policy"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: another host is told %s: %s", name, secret, text)
			}
		}
	}
}

// TestPrivateRefused: an error says what is wrong and what to do, and no secret.
func TestPrivateRefused(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	e, base := edge(t, http.NotFoundHandler())
	const hour = time.Hour
	old := cookiesFor(t, base, time.Now().Add(-hour))
	forged := cookiesFor(t, base, time.Now().Add(hour))
	forged[1].Value = old[1].Value
	for name, c := range map[string]struct {
		access     Access
		skew       time.Duration
		says, hint string
	}{
		"nothing":       {Access{}, 0, "the place is private: server answered 403", "ask the publisher for cookies and give them with --cookie-file"},
		"expired":       {Access{Cookies: old}, 0, "the cookies have expired at ", "the same command then goes on"},
		"forged":        {Access{Cookies: forged}, 0, "the cookies are not accepted", "another address than this machine's"},
		"elsewhere":     {Access{Cookies: cookiesFor(t, base+"/below", time.Now().Add(hour))}, 0, "the cookies are not accepted", "another place"},
		"another key":   {Access{Signer: sign.NewURLSigner(keyID, other)}, 0, "the signature of the URL is not accepted", "compare the key"},
		"another name":  {Access{Signer: sign.NewURLSigner("K0", privateKey())}, 0, "the signature of the URL is not accepted", "its identifier"},
		"another clock": {Access{Signer: sign.NewURLSigner(keyID, privateKey())}, hour, "the signature of the URL is not accepted", "the clock of this machine"},
		"a few minutes": {Access{Signer: sign.NewURLSigner(keyID, privateKey())}, 4 * time.Minute, "", ""},
	} {
		e.SetClock(func() time.Time { return time.Now().Add(c.skew) })
		s, err := Options{Access: c.access}.Open(base)
		check(t, err)
		for _, read := range []func() error{
			func() error { _, err := s.Get(t.Context(), "catalog", 10); return err },
			func() error {
				_, err := s.Open(t.Context(), fetcher.Span{Key: "segments/a", Offset: 1, Length: 1, Size: 3})
				return err
			},
		} {
			err := read()
			if c.says == "" {
				if !errors.Is(err, fetcher.ErrNotFound) {
					t.Errorf("%s: %v, want not found", name, err)
				}
				continue
			}
			permanent := (*backoff.PermanentError)(nil)
			if err == nil || !strings.Contains(err.Error(), c.says) || !errors.As(err, &permanent) {
				t.Errorf("%s: %v, want for good: %q", name, err, c.says)
				continue
			}
			if advice := (interface{ Hint() string })(nil); !errors.As(permanent.Unwrap(), &advice) || !strings.Contains(advice.Hint(), c.hint) {
				t.Errorf("%s: %v has not the hint %q", name, err, c.hint)
			}
			for _, secret := range []string{"Signature=", "Policy=", "Expires=", old[1].Value, forged[0].Value} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s: a secret is told: %v", name, err)
				}
			}
		}
	}
}

// TestPrivateUnreachable: not even an error of the connection shows a signature.
func TestPrivateUnreachable(t *testing.T) {
	s, err := Options{Access: Access{Signer: sign.NewURLSigner(keyID, privateKey())}}.Open("http://127.0.0.1:1/p")
	check(t, err)
	_, err = s.Get(t.Context(), "catalog", 10)
	if err == nil || strings.Contains(err.Error(), keyID) {
		t.Error(err)
	}
}

// TestPrivateInClear: what opens a place is sent to nobody who could be anybody.
func TestPrivateInClear(t *testing.T) {
	for _, url := range []string{"http://d1.example", "http://192.0.2.1", "http://user:hunter2@d1.example"} {
		for _, access := range []Access{{Cookies: []*http.Cookie{{Name: "a", Value: "hunter2"}}}, {Signer: sign.NewURLSigner(keyID, privateKey())}} {
			if _, err := (Options{Access: access}).Open(url); err == nil || !strings.Contains(err.Error(), "by https only") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", url, err)
			}
		}
	}
}
