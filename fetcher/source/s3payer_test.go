package source

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
)

// cashier stands before a server and refuses, as Amazon does, whoever does not
// offer to pay.
type cashier struct {
	setting string // what it says of the bucket's payment setting; empty: nothing
	free    bool   // it takes no money at all

	mu     sync.Mutex
	offers []string // of each request
}

const forbiddenAnswer = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`

func (c *cashier) answer(w http.ResponseWriter, r *http.Request) bool {
	offer := r.Header.Get("X-Amz-Request-Payer")
	c.mu.Lock()
	c.offers = append(c.offers, offer)
	c.mu.Unlock()
	if r.URL.Query().Has("requestPayment") && c.setting != "" {
		_, _ = io.WriteString(w, `<RequestPaymentConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Payer>`+
			c.setting+`</Payer></RequestPaymentConfiguration>`)
		return true
	}
	if c.free {
		return false
	}
	if offer != "requester" {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, forbiddenAnswer)
		return true
	}
	w.Header().Set("X-Amz-Request-Charged", "requester")
	return false
}

// seen are the offers of all requests so far.
func (c *cashier) seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offers
}

func TestRequesterPaysAgreed(t *testing.T) {
	c := &cashier{}
	sourcetest.Run(t, func(t *testing.T, objects map[string][]byte) fetcher.Source {
		b := newBucket(t, "", objects)
		s, err := Options{Consent: Everything()}.Open(b.url(proxy(t, b.server.Endpoint, nil, c.answer)))
		check(t, err)
		return s
	})
	if len(c.seen()) == 0 {
		t.Error("no request came through")
	}
	for i, offer := range c.seen() {
		if offer != "requester" {
			t.Errorf("request %d of %d offers %q to pay", i, len(c.seen()), offer)
		}
	}
}

// TestRequesterPaysNotAgreed reads without consent: nothing may ever be offered,
// and the reason is found out where it can be.
func TestRequesterPaysNotAgreed(t *testing.T) {
	for _, test := range []struct {
		name, setting, query string
		consent              bool
		want                 string
		requests             int
	}{
		{"setting is not told", "", "", true, "or its owner lets the requester pay", 2},
		{"requester pays", "Requester", "", true, "the bucket's owner lets the requester pay", 2},
		{"owner pays", "BucketOwner", "", false, "lack the permission", 2},
		{"URL says so", "", "requester-pays=true", true, "the bucket's owner lets the requester pay", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &cashier{setting: test.setting}
			b := newBucket(t, "", map[string][]byte{"catalog": []byte("small")})
			s := mustOpen(t, b.url(proxy(t, b.server.Endpoint, nil, c.answer), test.query))
			_, err := s.Get(t.Context(), "catalog", 10)
			isPermanent(t, err, test.want)
			if errors.Is(err, fetcher.ErrConsent) != test.consent || errors.Is(err, ErrRequesterPays) != test.consent {
				t.Errorf("error asks for consent: %v, want %v: %v", !test.consent, test.consent, err)
			}
			if test.consent && !strings.Contains(err.Error(), "each GB") {
				t.Errorf("error names no price: %v", err)
			}
			if got := strings.Join(c.seen(), ""); len(c.seen()) != test.requests || got != "" {
				t.Errorf("%d requests offered %q to pay; want %d and nothing", len(c.seen()), got, test.requests)
			}
		})
	}
}

// TestRequesterPaysAndNoPermission is refused though it offers to pay.
func TestRequesterPaysAndNoPermission(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, forbiddenAnswer)
	}))
	t.Cleanup(server.Close)
	useAWS(t, "key", "secret")
	s, err := Options{Consent: Everything()}.Open("s3://bucket-name?endpoint=" + server.URL)
	check(t, err)
	_, err = s.Get(t.Context(), "catalog", 10)
	isPermanent(t, err, "lack the permission")
	if errors.Is(err, fetcher.ErrConsent) {
		t.Errorf("asks for a consent that was given: %v", err)
	}
}
