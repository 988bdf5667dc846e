// Package awstest has a double of an account at Amazon for tests, as far as setting
// it up goes: buckets with their settings, and CloudFront. Both speak as Amazon does
// on the wire, and stand at one address.
package awstest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
)

// Account is the double.
type Account struct {
	CloudFront *cloudfronttest.API

	mu       sync.Mutex
	buckets  map[string]*Bucket
	requests []Request
	fault    *Fault
	exposed  []string
}

// Request is one that came, whatever became of it.
type Request struct {
	Service string // S3 or CloudFront
	Method  string
	Path    string // with the query
	Body    string
}

// Read reports whether the request changes nothing.
func (r Request) Read() bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// String is the request without its body.
func (r Request) String() string { return r.Service + " " + r.Method + " " + r.Path }

// Fault lets a request fail.
type Fault struct {
	// Hits reports whether it is this one, the nth from 1 on.
	Hits func(r Request, nth int) bool
	// Applied says that it happens, and only its answer is lost.
	Applied bool
	Code    string // of the answer; empty is Interrupted
	// Passing says that it may be tried again, as Amazon's libraries do.
	Passing bool

	count int
	hit   string
}

// Hit names the request that failed, empty if none did.
func (f *Fault) Hit() string { return f.hit }

// Start starts an account with nothing in it. Whoever has these variables in the
// environment talks to it; dir is any directory.
func Start(dir string) (a *Account, environment map[string]string, stop func()) {
	a = &Account{CloudFront: &cloudfronttest.API{}, buckets: map[string]*Bucket{}}
	server := httptest.NewServer(a)
	nowhere := filepath.Join(dir, "nothing")
	return a, map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_CA_BUNDLE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": server.URL,
	}, server.Close
}

// New starts an account for a test, and makes it that of the environment.
func New(t *testing.T) *Account {
	t.Helper()
	a, environment, stop := Start(t.TempDir())
	t.Cleanup(stop)
	for name, value := range environment {
		t.Setenv(name, value)
	}
	return a
}

// Break lets requests fail from now on; nil heals.
func (a *Account) Break(f *Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = f
}

// Requests are those since the last time.
func (a *Account) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.requests
	a.requests = nil
	return all
}

// Exposed are the moments at which a bucket was open to the world at its owner's
// cost.
func (a *Account) Exposed() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.exposed
}

// ServeHTTP implements [http.Handler].
func (a *Account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	req := Request{Service: "S3", Method: r.Method, Path: strings.TrimSuffix(r.URL.RequestURI(), "="), Body: string(body)}
	var serve http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serveS3(w, r, body) })
	if strings.HasPrefix(r.URL.Path, "/2020-05-31/") {
		req.Service, serve = "CloudFront", a.CloudFront
	}
	a.requests = append(a.requests, req)
	if f := a.fault; f != nil {
		if f.count++; f.Hits(req, f.count) {
			f.hit = req.String()
			if f.Applied {
				serve.ServeHTTP(httptest.NewRecorder(), r)
			}
			code, status := f.Code, http.StatusForbidden
			if code == "" {
				code, status = "Interrupted", http.StatusBadRequest
			}
			if f.Passing {
				status = http.StatusServiceUnavailable
			}
			if req.Service == "CloudFront" {
				(&cloudfronttest.Error{Status: status, Code: code, Message: "injected"}).Write(w)
			} else {
				refuse(w, r, status, code, "injected")
			}
			return
		}
	}
	serve.ServeHTTP(w, r)
}

// refuse answers as S3 does.
func refuse(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method != http.MethodHead { // whose answer has no body that could say why
		fmt.Fprintf(w, "%s<Error><Code>%s</Code><Message>%s</Message><RequestId>0</RequestId></Error>", xml.Header, code, message)
	}
}
