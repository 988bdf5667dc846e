package source

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
	"github.com/qsync/qsync/scripts/rgw"
	"github.com/qsync/qsync/scripts/s3server"
)

// TestCeph reads from a server of another vendor.
func TestCeph(t *testing.T) {
	gateway := rgw.Start(t)
	sourcetest.Run(t, func(t *testing.T, objects map[string][]byte) fetcher.Source {
		b := fill(t, gateway.Bucket(t), "below/a/prefix", objects)
		return mustOpen(t, b.url(b.server.Endpoint))
	})
}

// TestCephRequesterPays does all that a source does as somebody who agreed to pay,
// and looks at the bill.
func TestCephRequesterPays(t *testing.T) {
	gateway := rgw.Start(t)
	var bucket *s3server.Server
	var atLeast int64
	w := &witness{}
	sourcetest.Run(t, func(t *testing.T, objects map[string][]byte) fetcher.Source {
		b := fill(t, gateway.Bucket(t), "", objects)
		bucket = b.server
		for _, body := range objects {
			atLeast += int64(len(body))
		}
		bucket.Allow(t, rgw.Principal(rgw.Acct2), "s3:GetObject", "s3:ListBucket")
		rgw.LetRequestersPay(t, bucket)
		useAccount(t, rgw.Acct2)
		s, err := consenting(true).Open(b.url(proxy(t, bucket.Endpoint, nil, w.see)))
		check(t, err)
		return s
	})
	w.want(t, "requester")
	if len(w.requests) < 10 {
		t.Errorf("only %d requests came through", len(w.requests))
	}
	bill := gateway.Bill(t, bucket)
	if got := bill[rgw.Acct2]["get_obj"]; got.Succeeded < 10 || got.SentBytes < atLeast {
		t.Errorf("the reader pays for %+v, want %d bytes at least", got, atLeast)
	}
	for account, charges := range bill {
		if got := charges["get_obj"]; account != rgw.Acct2 && got.Requests > 0 {
			t.Errorf("%s pays for %+v", account, got)
		}
	}
}

// TestCephPayers reads as each kind of reader, with and without consent, and looks
// at the bill.
func TestCephPayers(t *testing.T) {
	gateway := rgw.Start(t)
	var (
		ask     = []string{"s3:GetBucketRequestPayment"}
		read    = []string{"s3:GetObject", "s3:ListBucket"}
		askRead = append(ask[:1:1], read...)
	)
	for _, test := range []struct {
		name      string
		reader    string   // account; empty: nobody
		may       []string // acct2 and nobody, beside the owner
		ownerPays bool
		query     string
		agreed    bool
		requests  int
		want      string // why it is refused; empty: it is not
		consent   bool   // that is asked for
	}{
		{name: "agreed", reader: rgw.Acct2, may: read, agreed: true, requests: 1},
		{name: "not agreed", reader: rgw.Acct2, may: read, requests: 2,
			want: "or its owner lets the requester pay", consent: true},
		{name: "not agreed, may see the setting", reader: rgw.Acct2, may: askRead, requests: 2,
			want: ": the bucket's owner lets the requester pay", consent: true},
		{name: "not agreed, the URL says it", reader: rgw.Acct2, may: read, query: "requester-pays=true", requests: 0,
			want: ": the bucket's owner lets the requester pay", consent: true},
		{name: "no permission, agreed", reader: rgw.Acct3, may: read, agreed: true, requests: 1,
			want: "lack the permission"},
		{name: "no permission, not agreed", reader: rgw.Acct3, may: read, requests: 2,
			want: "or its owner lets the requester pay", consent: true},
		{name: "no permission, may see that the owner pays", reader: rgw.Acct2, may: ask, ownerPays: true, requests: 2,
			want: "lack the permission"},
		{name: "owner pays", reader: rgw.Acct2, may: read, ownerPays: true, requests: 1},
		{name: "owner pays, agreed", reader: rgw.Acct2, may: read, ownerPays: true, agreed: true, requests: 1},
		{name: "owner reads", reader: rgw.Owner, requests: 1},
		{name: "nobody", may: read, query: "anonymous=true", requests: 1,
			want: "not open to everybody"},
		{name: "nobody, agreed", may: read, query: "anonymous=true", agreed: true, requests: 1,
			want: "not open to everybody"},
	} {
		t.Run(test.name, func(t *testing.T) {
			content := strings.Repeat("catalog ", 1000)
			b := fill(t, gateway.Bucket(t), "", map[string][]byte{"catalog": []byte(content)})
			if test.may != nil {
				principal := "*"
				if test.reader != "" {
					principal = rgw.Principal(rgw.Acct2)
				}
				b.server.Allow(t, principal, test.may...)
			}
			if !test.ownerPays {
				rgw.LetRequestersPay(t, b.server)
			}
			useAccount(t, test.reader)
			w := &witness{}
			s, err := consenting(test.agreed).Open(b.url(proxy(t, b.server.Endpoint, nil, w.see), test.query))
			check(t, err)
			body, err := s.Get(t.Context(), "catalog", int64(len(content)))

			paid := map[string]rgw.Charge{}
			if test.want == "" {
				if err != nil || string(body) != content {
					t.Errorf("got %d bytes, %v", len(body), err)
				}
				payer := test.reader
				if test.ownerPays {
					payer = rgw.Owner
				}
				paid[payer] = rgw.Charge{Requests: 1, Succeeded: 1, SentBytes: int64(len(content))}
			} else {
				isPermanent(t, err, test.want)
				if errors.Is(err, fetcher.ErrConsent) != test.consent {
					t.Errorf("error asks for consent: %v, want %v: %v", !test.consent, test.consent, err)
				}
			}
			wantBill(t, gateway.Bill(t, b.server), paid)
			offer := ""
			if test.agreed && test.reader != "" {
				offer = "requester"
			}
			w.want(t, offer)
			if len(w.requests) != test.requests {
				t.Errorf("%d requests, want %d: %s", len(w.requests), test.requests, w.requests)
			}
		})
	}
}

// consenting are the options of a user who agrees to pay for everything, or for nothing.
func consenting(agreed bool) Options {
	if agreed {
		return Options{Consent: Everything()}
	}
	return Options{}
}

// useAccount sets the environment of Amazon's tools.
func useAccount(t *testing.T, account string) {
	t.Helper()
	if account == "" {
		useAWS(t, "", "")
		return
	}
	as := rgw.As(account, &s3server.Server{})
	useAWS(t, as.AccessKey, as.SecretKey)
}

// wantBill checks who pays for reading. Refusals cost nothing that matters.
func wantBill(t *testing.T, bill rgw.Bill, want map[string]rgw.Charge) {
	t.Helper()
	got := map[string]rgw.Charge{}
	for account, charges := range bill {
		for kind, charge := range charges {
			if (kind == "get_obj" || kind == "list_bucket") && charge.Succeeded > 0 {
				got[account] = charge
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is paid for (-want +got):\n%s", diff)
	}
}

// witness sees what requests offer to pay, whatever their method is. It is looked at
// when all of them have been answered.
type witness struct {
	mu       sync.Mutex
	requests []string
	offers   []string
}

func (w *witness) see(_ http.ResponseWriter, r *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = append(w.requests, r.Method+" "+r.URL.RequestURI())
	w.offers = append(w.offers, r.Header.Get("X-Amz-Request-Payer"))
	return false
}

// want checks what each request offered.
func (w *witness) want(t *testing.T, offer string) {
	t.Helper()
	for i, got := range w.offers {
		if got != offer {
			t.Errorf("%s offers %q to pay, want %q", w.requests[i], got, offer)
		}
	}
}
