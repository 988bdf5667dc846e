package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/scripts/rgw"
)

// TestFetchRequesterPays restores from a bucket whose owner does not pay, and looks
// who does.
func TestFetchRequesterPays(t *testing.T) {
	gateway := rgw.Start(t)
	tree, verifier, want := publishTree(t)
	published := treeSize(t, tree)
	bucket := gateway.Bucket(t)
	bucket.Upload(t, tree, "polka")
	bucket.Allow(t, rgw.Principal(rgw.Acct2), "s3:GetObject", "s3:ListBucket")
	rgw.LetRequestersPay(t, bucket)
	place := "s3://" + bucket.Bucket + "/polka?region=" + bucket.Region + "&endpoint="
	bill := gateway.Bill(t, bucket)

	for _, test := range []struct {
		name, says string
		account    string
		code       int
		query      string
		args       []string
		alsoFrom   bool   // a source that is free
		offer      string // of each request; none means no request
	}{
		{name: "agreed", account: rgw.Acct2, args: []string{"--allow-requester-pays"}, offer: "requester"},
		{name: "not agreed", account: rgw.Acct2, code: term.ExitConsent, says: "add --allow-requester-pays", offer: "nothing"},
		{name: "a yes is not enough", account: rgw.Acct2, args: []string{"--yes"}, code: term.ExitConsent,
			says: "add --allow-requester-pays", offer: "nothing"},
		{name: "the URL says it", account: rgw.Acct2, query: "&requester-pays=true", code: term.ExitConsent,
			says: "add --allow-requester-pays"},
		{name: "beside a free source", account: rgw.Acct2, alsoFrom: true, offer: "nothing"},
		{name: "agreed, no permission", account: rgw.Acct3, args: []string{"--allow-requester-pays"}, code: term.ExitNoSource, offer: "requester"},
		{name: "nobody", account: rgw.Acct2, query: "&anonymous=true", args: []string{"--allow-requester-pays"}, code: term.ExitNoSource, offer: "nothing"},
		{name: "the owner", account: rgw.Owner, offer: "nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			useAWS(t, rgw.As(test.account, bucket))
			t.Setenv("XDG_STATE_HOME", t.TempDir())
			seen, offers := offersTo(t, bucket.Endpoint)
			target := filepath.Join(t.TempDir(), "db")
			args := []string{"demo", "--trust", verifier, "--to", target, "--from", place + seen + test.query}
			if test.alsoFrom {
				args = append(args, "--from", tree)
			}
			err := runFetch(t, append(args, test.args...)...)
			if code := term.ExitCode(err); code != test.code {
				t.Fatalf("exit code is %d, want %d: %v", code, test.code, err)
			}
			if hint := term.Hint(err); !strings.Contains(hint, test.says) {
				t.Errorf("%v: the hint is %q, want %q", err, hint, test.says)
			}
			if got := offers.all(); got != test.offer {
				t.Errorf("requests offered %q, want %q", got, test.offer)
			}
			for path, body := range want {
				got, err := os.ReadFile(filepath.Join(target, path))
				if exists := err == nil; exists != (test.code == 0) || exists && string(got) != body {
					t.Errorf("%s: got %d bytes, %v; the exit code was %d", path, len(got), err, test.code)
				}
			}
			paid := int64(0)
			if test.code == 0 && !test.alsoFrom {
				paid = published
			}
			earlier := bill
			bill = gateway.Bill(t, bucket)
			wantPaid(t, bill.Since(earlier), test.account, paid)
		})
	}
}

// treeSize is how many bytes of a published tree a first restore reads.
func treeSize(t *testing.T, tree string) (size int64) {
	t.Helper()
	check(t, filepath.Walk(tree, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && !strings.HasSuffix(path, "catalog") {
			size += info.Size()
		}
		return err
	}))
	return size
}

// wantPaid checks that the account pays for so many bytes, and nobody else for any.
func wantPaid(t *testing.T, bill rgw.Bill, account string, want int64) {
	t.Helper()
	const refusals = 4 << 10 // bytes: what a refused request says counts, too
	for who, charges := range bill {
		got := charges["get_obj"]
		least := int64(0)
		if who == account {
			least = want
		}
		if got.SentBytes < least || got.SentBytes > least+refusals || least == 0 && got.Succeeded > 0 {
			t.Errorf("%s pays for %+v, want %d bytes", who, got, least)
		}
	}
	if want > 0 && bill[account] == nil {
		t.Errorf("%s pays for nothing", account)
	}
}

// offers are what requests have offered to pay.
type offers struct {
	mu   sync.Mutex
	made map[string]bool
}

func (o *offers) all() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for offer := range o.made {
		all = append(all, offer)
	}
	return strings.Join(all, " and ")
}

// offersTo stands before an S3 server and sees what each request offers to pay.
func offersTo(t *testing.T, endpoint string) (string, *offers) {
	t.Helper()
	behind, err := url.Parse(endpoint)
	check(t, err)
	seen := &offers{made: map[string]bool{}}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(behind)
		r.Out.Host = r.In.Host // is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		offer := r.Header.Get("X-Amz-Request-Payer")
		if offer == "" {
			offer = "nothing"
		}
		seen.mu.Lock()
		seen.made[offer] = true
		seen.mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, seen
}
