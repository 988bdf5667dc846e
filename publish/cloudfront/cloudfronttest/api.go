// Package cloudfronttest has a double of CloudFront's API for tests: REST with XML
// on the wire as version 2020-05-31 documents it. It keeps what it is given, gives
// it back as CloudFront does, and refuses much of what CloudFront refuses.
package cloudfronttest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

const version = "/2020-05-31/"

// Account is the number of the account that everything is of.
const Account = "123456789012"

// API is the double. Its zero value is an account with nothing in it.
type API struct {
	// Polls is how often an invalidation is looked at before it is complete.
	Polls int

	mu            sync.Mutex
	requests      []Request
	resources     []*resource
	invalidations []*invalidation
	made          int
	refuse        func(Request) *Error
	deploying     bool
}

// Refuse lets the API answer what fn makes of a request, if that is not nil, in place
// of what it would.
func (a *API) Refuse(fn func(Request) *Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = fn
}

// SetDeploying says whether changes are still on their way to all places.
func (a *API) SetDeploying(deploying bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deploying = deploying
}

// Request is one that came, whatever became of it.
type Request struct {
	Method string
	Path   string // behind the version, with the query
	Body   *Node  // nil without one
}

// String is the request without its body.
func (r Request) String() string { return r.Method + " " + r.Path }

// Requests are all so far.
func (a *API) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Request(nil), a.requests...)
}

// Error is a refusal in CloudFront's form.
type Error struct {
	Status        int
	Code, Message string
}

func refuse(status int, code, format string, args ...any) *Error {
	return &Error{status, code, fmt.Sprintf(format, args...)}
}

// Write answers a request with it.
func (e *Error) Write(w http.ResponseWriter) {
	respond(w, e.Status, New("ErrorResponse",
		New("Error", New("Type", "Sender"), New("Code", e.Code), New("Message", e.Message)),
		New("RequestId", "00000000-0000-0000-0000-000000000000")))
}

func respond(w http.ResponseWriter, status int, body *Node) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	if body == nil {
		return
	}
	body = body.Clone()
	body.XMLName.Space = "http://cloudfront.amazonaws.com/doc/2020-05-31/"
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(body)
}

// signed is how requests to CloudFront are signed.
var signed = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([a-z0-9-]+)/cloudfront/aws4_request, `)

// checkSignature refuses a request that is not signed for CloudFront. Under its real
// name CloudFront wants one region of all.
func checkSignature(r *http.Request) *Error {
	by := signed.FindStringSubmatch(r.Header.Get("Authorization"))
	if by == nil || r.URL.Host == "cloudfront.amazonaws.com" && by[1] != "us-east-1" {
		return refuse(http.StatusForbidden, "IncompleteSignature", "not signed for us-east-1/cloudfront: %q", r.Header.Get("Authorization"))
	}
	return nil
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	req := Request{Method: r.Method, Path: strings.TrimPrefix(r.URL.RequestURI(), version)}
	var bad error
	if r.ContentLength != 0 {
		req.Body, bad = Parse(r.Body)
	}
	a.requests = append(a.requests, req)
	if err := checkSignature(r); err != nil {
		err.Write(w)
		return
	}
	if bad == nil && req.Body != nil {
		bad = req.Body.checkQuantities()
	}
	if bad != nil {
		refuse(http.StatusBadRequest, "MalformedInput", "%s", bad).Write(w)
		return
	}
	if a.refuse != nil {
		if err := a.refuse(req); err != nil {
			err.Write(w)
			return
		}
	}
	a.serve(w, r, req)
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, req Request) {
	path, ok := strings.CutPrefix(r.URL.Path, version)
	if !ok {
		refuse(http.StatusNotFound, "UnknownOperationException", "%s", r.URL.Path).Write(w)
		return
	}
	collection, rest, _ := strings.Cut(path, "/")
	id, below, _ := strings.Cut(rest, "/")
	switch {
	case collection == "tagging":
		a.serveTags(w, r, req)
	case collection == "distribution" && strings.HasPrefix(below, "invalidation"):
		_, name, _ := strings.Cut(below, "/")
		a.serveInvalidation(w, req, id, name)
	default:
		a.serveResource(w, r, req, collection, id, below == "config")
	}
}

// name makes a name that CloudFront could have made.
func (a *API) name(kind string) string {
	a.made++
	return fmt.Sprintf("%s%012dX", kind, a.made)
}
