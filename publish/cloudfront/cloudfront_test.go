package cloudfront

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
)

const secret = "hunter2hunter2"

// direct is a transport without a network, so that time can be that of a bubble.
type direct struct{ http.Handler }

func (d direct) Do(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

// newAPI is an account with a distribution.
func newAPI() (*cloudfronttest.API, string) {
	api := &cloudfronttest.API{}
	n := cloudfronttest.New
	id := api.Add("distribution", n("DistributionConfig", n("Enabled", true), n("Origins", n("Items")), n("CallerReference", "x"),
		n("Aliases", n("Quantity", 1), n("Items", n("CNAME", "snapshots.example.org")))), nil)
	return api, id
}

func open(t *testing.T, h http.Handler, o Options) *Distribution {
	t.Helper()
	d, err := newDistribution(aws.Config{
		Region: "eu-central-1", HTTPClient: direct{h}, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", secret, ""),
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// noConfig keeps this machine's AWS configuration out.
func noConfig(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nothing")
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
}

// TestInvalidate is the whole way, with a server and the configuration of the
// environment.
func TestInvalidate(t *testing.T) {
	noConfig(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	api, id := newAPI()
	server := httptest.NewServer(api)
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_CLOUDFRONT", server.URL)
	d, err := New(Options{Distribution: id, URL: "https://d111111abcdef8.cloudfront.net"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Invalidate(t.Context(), []string{"catalog", "polkadot-rocksdb-archive/head"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Invalidate(t.Context(), nil); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
	paths := []string{"/catalog", "/polkadot-rocksdb-archive/head"}
	if diff := cmp.Diff([][]string{paths, paths}, api.Invalidated()); diff != "" {
		t.Errorf("invalidated (-want +got):\n%s", diff)
	}
	if got := d.String(); got != "CloudFront distribution "+id {
		t.Error(got)
	}
	about, err := d.Describe(t.Context())
	want := Description{Domain: strings.ToLower(id) + ".cloudfront.net", Aliases: []string{"snapshots.example.org"}, Enabled: true, Deployed: true}
	if diff := cmp.Diff(want, about); err != nil || diff != "" {
		t.Errorf("%v, described (-want +got):\n%s", err, diff)
	}
}

func TestPaths(t *testing.T) {
	for _, c := range []struct{ url, key, want string }{
		{"https://d.example", "catalog", "/catalog"},
		{"https://d.example/", "catalog", "/catalog"},
		{"https://d.example/mirrors/qsync", "a/head", "/mirrors/qsync/a/head"},
		{"https://d.example/mirrors/qsync/", "keys", "/mirrors/qsync/keys"},
		{"https://d.example/über%20uns/50%25~[a]", "keys", "/%C3%BCber%20uns/50%25%7E%5Ba%5D/keys"},
		{"https://d.example/a+b,c*d=e&f:g@h!(i)'$;", "keys", "/a+b,c*d=e&f:g@h!(i)'$;/keys"},
	} {
		api, id := newAPI()
		d := open(t, api, Options{Distribution: id, URL: c.url})
		if err := d.Invalidate(t.Context(), []string{c.key}); err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if got := api.Invalidated()[0][0]; got != c.want {
			t.Errorf("%s: %s, want %s", c.url, got, c.want)
		}
	}
	for _, o := range []Options{{URL: "https://d.example"}, {Distribution: "E1", URL: "https://[::1"}} {
		if _, err := newDistribution(aws.Config{}, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

// trouble answers a request in place of the API. It reports whether it has.
type trouble func(w http.ResponseWriter, r *http.Request, nth int) bool

// first is a trouble of the first requests of a method.
func first(method string, n int, do func(w http.ResponseWriter, r *http.Request)) trouble {
	seen := 0
	return func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if r.Method == method {
			seen++
		}
		if r.Method != method || seen > n {
			return false
		}
		do(w, r)
		return true
	}
}

func answer(status int, code string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		(&cloudfronttest.Error{Status: status, Code: code, Message: "because"}).Write(w)
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

const always = 1 << 30

// TestTrouble runs in a time of its own: what takes minutes there takes none here.
func TestTrouble(t *testing.T) {
	for name, c := range map[string]struct {
		polls   int
		trouble trouble
		cancel  time.Duration
		takes   [2]time.Duration // at least and at most
		is      error
		says    string
		hint    string
		ordered int // invalidations that there are at the end
	}{
		"at once":                  {takes: [2]time.Duration{0, time.Second}, ordered: 1},
		"waits":                    {polls: 5, takes: [2]time.Duration{5 * time.Second, 40 * time.Second}, ordered: 1},
		"never":                    {polls: always, takes: [2]time.Duration{DefaultWait, DefaultWait + time.Second}, is: ErrLate, says: "not complete yet after 2m0s", ordered: 1},
		"throttled":                {trouble: first("POST", 3, answer(400, "Throttling")), takes: [2]time.Duration{2 * time.Second, 20 * time.Second}, ordered: 1},
		"throttled while it waits": {trouble: first("GET", 3, answer(400, "ThrottlingException")), takes: [2]time.Duration{2 * time.Second, 20 * time.Second}, ordered: 1},
		"broken for a moment":      {trouble: first("GET", 2, answer(503, "ServiceUnavailable")), takes: [2]time.Duration{time.Second, 10 * time.Second}, ordered: 1},
		"many others":              {trouble: first("POST", 4, answer(400, "TooManyInvalidationsInProgress")), takes: [2]time.Duration{4 * time.Second, 30 * time.Second}, ordered: 1},
		"too many others": {trouble: first("POST", always, answer(400, "TooManyInvalidationsInProgress")), takes: [2]time.Duration{100 * time.Second, DefaultWait + time.Second},
			is: context.DeadlineExceeded, says: "CloudFront answers TooManyInvalidationsInProgress: because", hint: "something else orders many"},
		"hangs once":        {trouble: first("POST", 1, hang), takes: [2]time.Duration{attemptTimeout, attemptTimeout + 5*time.Second}, ordered: 1},
		"hangs while asked": {trouble: first("GET", 2, hang), takes: [2]time.Duration{2 * attemptTimeout, 2*attemptTimeout + 10*time.Second}, ordered: 1},
		"hangs":             {trouble: first("POST", always, hang), takes: [2]time.Duration{DefaultWait, DefaultWait + time.Second}, is: context.DeadlineExceeded, says: "no answer within 20s"},
		"not allowed": {trouble: first("POST", always, answer(403, "AccessDenied")), takes: [2]time.Duration{0, 0},
			says: "CloudFront answers AccessDenied: because", hint: "allow cloudfront:CreateInvalidation on"},
		"not allowed to look": {trouble: first("GET", always, answer(403, "AccessDenied")), takes: [2]time.Duration{0, 0},
			says: "CloudFront answers AccessDenied: because", hint: "allow cloudfront:GetInvalidation on", ordered: 1},
		"refused":         {trouble: first("POST", always, answer(400, "InvalidArgument")), takes: [2]time.Duration{0, 0}, says: "InvalidArgument: because"},
		"wrong secret":    {trouble: first("POST", always, answer(403, "SignatureDoesNotMatch")), takes: [2]time.Duration{0, 0}, says: "SignatureDoesNotMatch", hint: "check AWS_ACCESS_KEY_ID"},
		"wrong clock":     {trouble: first("POST", always, answer(403, "RequestExpired")), takes: [2]time.Duration{0, 0}, says: "RequestExpired", hint: "set the clock"},
		"cancelled":       {polls: always, cancel: 10 * time.Second, takes: [2]time.Duration{10 * time.Second, 10 * time.Second}, is: context.Canceled, ordered: 1},
		"cancelled early": {trouble: first("POST", always, hang), cancel: time.Second, takes: [2]time.Duration{time.Second, time.Second}, is: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, id := newAPI()
				api.Polls = c.polls
				nth := 0
				d := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if nth++; c.trouble == nil || !c.trouble(w, r, nth) {
						api.ServeHTTP(w, r)
					}
				}), Options{Distribution: id, URL: "https://d.example"})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.cancel > 0 {
					time.AfterFunc(c.cancel, cancel)
				}
				start := time.Now()
				err := d.Invalidate(ctx, []string{"catalog", "a/head"})
				if took := time.Since(start); took < c.takes[0] || took > c.takes[1] {
					t.Errorf("took %s, want %s", took, c.takes)
				}
				if (err != nil) != (c.is != nil || c.says != "") || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("error %v, want %v %q", err, c.is, c.says)
				}
				if err != nil {
					checkError(t, err, id, c.says, c.hint)
				}
				if errors.Is(err, context.Canceled) && errors.Is(err, ErrLate) {
					t.Errorf("who has cancelled is told that it is late: %v", err)
				}
				if got := len(api.Invalidated()); got != c.ordered {
					t.Errorf("%d invalidations, want %d", got, c.ordered)
				}
			})
		})
	}
}

func checkError(t *testing.T, err error, id, says, hint string) {
	t.Helper()
	text := err.Error()
	for _, part := range []string{says, "invalidate /catalog, /a/head on CloudFront distribution " + id} {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
	if strings.Contains(text, secret) || strings.Contains(text, "AKID") {
		t.Errorf("%q tells a secret", text)
	}
	var advice interface{ Hint() string }
	if hint != "" && (!errors.As(err, &advice) || !strings.Contains(advice.Hint(), hint)) {
		t.Errorf("%v: want the hint %q", err, hint)
	}
}

// TestLostAnswer: what was ordered is not ordered again when nobody has heard the
// answer. Another call is another invalidation.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, id := newAPI()
		lost := 0
		d := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lost++; r.Method == http.MethodPost && lost <= 3 {
				api.ServeHTTP(httptest.NewRecorder(), r)
				answer(http.StatusInternalServerError, "InternalError")(w, r)
				return
			}
			api.ServeHTTP(w, r)
		}), Options{Distribution: id, URL: "https://d.example"})
		for range 2 {
			if err := d.Invalidate(t.Context(), []string{"catalog"}); err != nil {
				t.Fatal(err)
			}
		}
		if got := api.Invalidated(); len(got) != 2 {
			t.Errorf("%d invalidations, want 2", len(got))
		}
		var references []string
		for _, r := range api.Requests() {
			if r.Method == http.MethodPost {
				references = append(references, r.Body.Get("CallerReference"))
			}
		}
		if len(references) != 5 || len(slices.Compact(references)) != 2 {
			t.Errorf("caller references %q, want one for each call", references)
		}
	})
}

func TestNoSuchDistribution(t *testing.T) {
	api, _ := newAPI()
	d := open(t, api, Options{Distribution: "E404", URL: "https://d.example"})
	checkError(t, d.Invalidate(t.Context(), []string{"catalog", "a/head"}), "E404", "NoSuchDistribution", "correct distribution: in the configuration")
	if _, err := d.Describe(t.Context()); err == nil || !strings.Contains(err.Error(), "look at CloudFront distribution E404: CloudFront answers NoSuchDistribution") {
		t.Error(err)
	}
}

func TestNoCredentials(t *testing.T) {
	noConfig(t)
	d, err := New(Options{Distribution: "E1", URL: "https://d.example"})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	checkError(t, d.Invalidate(t.Context(), []string{"catalog", "a/head"}), "E1", "no credentials: ", "AWS_PROFILE")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("tried for %s", took)
	}
}

// TestNoMetadata: a machine that has no role is not asked for it again and again.
func TestNoMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		})
		d, err := newDistribution(aws.Config{
			Region: "us-east-1", Credentials: chain{gone}, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		}, Options{Distribution: "E1", URL: "https://d.example"})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		checkError(t, d.Invalidate(t.Context(), []string{"catalog", "a/head"}), "E1", "no credentials: ", "AWS_PROFILE")
		if took := time.Since(start); took > 0 {
			t.Errorf("tried for %s", took)
		}
	})
}
