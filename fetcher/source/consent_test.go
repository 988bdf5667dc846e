package source

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/qsync/qsync/fetcher"
)

// TestConsentInBytes reads with consent to so many bytes from a bucket that turns
// out to be one whose requester pays.
func TestConsentInBytes(t *testing.T) {
	content := strings.Repeat("0123456789", 100)
	for _, query := range []string{"", "requester-pays=true"} {
		t.Run(query, func(t *testing.T) {
			c := &cashier{}
			b := newBucket(t, "", map[string][]byte{"small": []byte("small"), "big": []byte(content)})
			consent := &Consent{}
			s, err := Options{Consent: consent}.Open(b.url(proxy(t, b.server.Endpoint, nil, c.answer), query))
			check(t, err)
			get := func(key string, limit int64) error {
				t.Helper()
				_, err := s.Get(t.Context(), key, limit)
				return err
			}
			open := func(offset, length int64) (io.ReadCloser, error) {
				return s.Open(t.Context(), fetcher.Span{Key: "big", Offset: offset, Length: length, Size: 1000})
			}
			isPermanent(t, get("small", 10), "requester pay")
			if offers := strings.Join(c.seen(), ""); offers != "" {
				t.Errorf("offered %q before anybody agreed", offers)
			}

			consent.Allow(600)
			check(t, get("small", 100)) // which has 5 bytes: 95 come back
			if err := get("small", 596); !errors.Is(err, fetcher.ErrConsent) {
				t.Errorf("asked for more than was agreed to: %v", err)
			}
			check(t, get("small", 595)) // 590 come back
			if err := get("missing", 500); !errors.Is(err, fetcher.ErrNotFound) {
				t.Error(err)
			}
			body, err := open(100, 500)
			check(t, err)
			if _, err := open(0, 91); !errors.Is(err, ErrRequesterPays) {
				t.Errorf("asked for more than was agreed to: %v", err)
			}
			_, err = io.ReadFull(body, make([]byte, 200))
			check(t, errors.Join(err, body.Close()))
			// 90 and 300 are left.
			body, err = open(0, 390)
			check(t, err)
			_, err = io.Copy(io.Discard, body)
			check(t, errors.Join(err, body.Close()))
			payer := (*PayerError)(nil)
			if err := get("small", 1); !errors.As(err, &payer) || payer.Wanted != 1 || !payer.Certain {
				t.Errorf("all is used up: %+v", err)
			}
			consent.Allow(5)
			check(t, get("small", 5))
			consent.Allow(1000)
			consent.Withdraw()
			if err := get("small", 1); !errors.Is(err, fetcher.ErrConsent) {
				t.Errorf("all is withdrawn: %v", err)
			}
		})
	}
}

// TestConsentIsNotForFreeBuckets reads more than was agreed to from a bucket whose
// owner pays.
func TestConsentIsNotForFreeBuckets(t *testing.T) {
	c := &cashier{free: true}
	b := newBucket(t, "", map[string][]byte{"small": []byte("small")})
	consent := &Consent{}
	consent.Allow(1)
	s, err := Options{Consent: consent}.Open(b.url(proxy(t, b.server.Endpoint, nil, c.answer)))
	check(t, err)
	for range 3 {
		_, err := s.Get(t.Context(), "small", 100)
		check(t, err)
	}
	if offers := strings.Join(c.seen(), ""); offers != "" || BillOf(t.Context(), s) != nil {
		t.Errorf("offered %q; the bill is %+v", offers, BillOf(t.Context(), s))
	}
}

// TestNobodyPaysAnonymously reads without credentials, with consent to everything.
func TestNobodyPaysAnonymously(t *testing.T) {
	c := &cashier{}
	b := newBucket(t, "", map[string][]byte{"small": []byte("small")})
	b.open()
	s, err := Options{Consent: Everything()}.Open(b.url(proxy(t, b.server.Endpoint, nil, c.answer), "anonymous=true"))
	check(t, err)
	_, err = s.Get(t.Context(), "small", 10)
	isPermanent(t, err, "not open to everybody")
	if offers := strings.Join(c.seen(), ""); offers != "" {
		t.Errorf("offered %q", offers)
	}
}

// TestConsentIsShared has many readers ask at once for what is agreed to once.
func TestConsentIsShared(t *testing.T) {
	c := &Consent{}
	c.Allow(1000)
	var group sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 100 {
		group.Go(func() {
			if c.take(30) {
				mu.Lock()
				taken++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if taken != 33 {
		t.Errorf("%d times 30 of 1000", taken)
	}
	var none *Consent
	if none.take(1) || none.IsEverything() || !Everything().take(math.MaxInt64) {
		t.Error("nothing or everything is not what it says")
	}
}

// TestBill is what a plan shows: by whose account, and at which price.
func TestBill(t *testing.T) {
	c := &cashier{}
	b := newBucket(t, "", map[string][]byte{"small": []byte("small")})
	s, err := Options{Consent: Everything()}.Open(b.url(proxy(t, b.server.Endpoint, nil, c.answer)))
	check(t, err)
	if bill := BillOf(t.Context(), s); bill != nil {
		t.Errorf("before anything is known: %+v", bill)
	}
	_, err = s.Get(t.Context(), "small", 10)
	check(t, err)
	if bill := BillOf(t.Context(), s); bill == nil || bill.To != "the account of access key …-key" || bill.Price != nil {
		t.Errorf("after the store has said that it charges: %+v", bill)
	}
	if bill := BillOf(t.Context(), mustOpen(t, t.TempDir())); bill != nil {
		t.Errorf("of a directory: %+v", bill)
	}
	for region, perGB := range map[string]float64{"us-east-1": 0.09, "eu-central-1": 0.09, "ca-west-1": 0.09, "sa-east-1": 0.155, "us-gov-east-1": 0.155} {
		bill := BillOf(t.Context(), mustOpen(t, "s3://bucket-name?requester-pays=true&region="+region))
		if bill == nil || bill.Price == nil || bill.Price.PerGB() != perGB || bill.Price.AsOf == "" || bill.Price.List == "" {
			t.Errorf("%s: %+v", region, bill)
		}
	}
}

func TestPrice(t *testing.T) {
	for _, test := range []struct {
		bytes    int64
		requests int
		want     string
	}{
		{0, 0, "0.0000"},
		{1e9, 0, "0.0900"},
		{0, 70_000, "0.0350"},
		{1e12, 60_000, "90.0300"},
		{10e12, 0, "900.0000"},
		{11e12, 0, "985.0000"},
		{200e12, 0, "13800.0000"},
	} {
		if got := fmt.Sprintf("%.4f", amazonPrice("us-east-1").USD(test.bytes, test.requests)); got != test.want {
			t.Errorf("%d bytes in %d requests: %s USD, want %s", test.bytes, test.requests, got, test.want)
		}
	}
}
