package sourcetest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Edge is a double of a private CloudFront distribution. It lets in who has a
// signed URL or signed cookies, by the rules of CloudFront's documentation: a
// signature in the URL counts before one in cookies, and the time before the
// answer, not during it.
type Edge struct {
	// Keys are those of its key group, by their identifiers.
	Keys map[string]*rsa.PublicKey
	// Content answers whoever is let in. It sees neither signatures nor cookies.
	Content http.Handler

	mu     sync.Mutex
	now    func() time.Time
	seen   int
	refuse []string
}

// SetClock gives it another time than this machine's.
func (e *Edge) SetClock(now func() time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = now
}

// Served is how many requests were let in.
func (e *Edge) Served() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen
}

// Refused are the reasons for which requests were not let in.
func (e *Edge) Refused() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.refuse...)
}

// edgeError is how CloudFront says no.
type edgeError struct {
	status     int
	code, text string
}

func (e *edgeError) Error() string { return e.text }

var (
	errMissingKey = &edgeError{http.StatusForbidden, "MissingKey", "Missing Key-Pair-Id query parameter or cookie value"}
	errInvalidKey = &edgeError{http.StatusForbidden, "InvalidKey", "Unknown Key"}
	errMalformed  = &edgeError{http.StatusBadRequest, "MalformedPolicy", "Malformed Policy"}
)

// denied is CloudFront's answer for all else. It does not say why; the test is told.
func denied(why string) error { return &edgeError{http.StatusForbidden, "AccessDenied", why} }

// signingParameters are taken out of a signed URL.
var signingParameters = []string{"Expires", "Policy", "Signature", "Key-Pair-Id"}

func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	err := e.check(r)
	if err == nil {
		e.seen++
	} else {
		e.refuse = append(e.refuse, err.Error())
	}
	e.mu.Unlock()
	if err != nil {
		no := &edgeError{}
		errors.As(err, &no)
		text := no.text
		if no.code == "AccessDenied" {
			text = "Access denied"
		}
		w.Header().Set("Server", "CloudFront")
		w.Header().Set("X-Cache", "Error from cloudfront")
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(no.status)
		fmt.Fprintf(w, `%s<Error><Code>%s</Code><Message>%s</Message></Error>`, xml.Header, no.code, text)
		return
	}
	r = r.Clone(r.Context())
	r.Header.Del("Cookie")
	r.URL.RawQuery = unsigned(r.URL.RawQuery)
	e.Content.ServeHTTP(w, r)
}

// unsigned is a query without what signs it; the rest stays as it is.
func unsigned(query string) string {
	var rest []string
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		signing := false
		for _, p := range signingParameters {
			signing = signing || name == p
		}
		if part != "" && !signing {
			rest = append(rest, part)
		}
	}
	return strings.Join(rest, "&")
}

// policy is what a signature says.
type policy struct {
	Statement []struct {
		Resource  string
		Condition struct {
			DateLessThan    *epoch
			DateGreaterThan *epoch
			IpAddress       *struct {
				SourceIP string `json:"AWS:SourceIp"`
			}
		}
	}
}

type epoch struct {
	Seconds int64 `json:"AWS:EpochTime"`
}

func (e *Edge) check(r *http.Request) error {
	get := func(name string) string {
		if c, err := r.Cookie("CloudFront-" + name); err == nil {
			return c.Value
		}
		return ""
	}
	query := r.URL.Query()
	for _, name := range signingParameters {
		if query.Has(name) { // then cookies do not count
			get = query.Get
		}
	}
	id := get("Key-Pair-Id")
	if id == "" {
		return errMissingKey
	}
	key := e.Keys[id]
	if key == nil {
		return errInvalidKey
	}
	address := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: unsigned(r.URL.RawQuery)}
	if r.TLS != nil {
		address.Scheme = "https"
	}
	text, err := policyText(get, address.String())
	if err != nil {
		return err
	}
	signature, err := decode(get("Signature"))
	if err != nil {
		return denied("the signature is not encoded as it must be")
	}
	sum := sha1.Sum(text)
	if rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature) != nil {
		return denied("the signature is not that of the policy")
	}
	return e.allows(text, address.String(), r.RemoteAddr)
}

// policyText is what was signed: a policy that the request brings, or the one that
// stands for a time of expiry.
func policyText(get func(string) string, address string) ([]byte, error) {
	if encoded := get("Policy"); encoded != "" {
		text, err := decode(encoded)
		if err != nil {
			return nil, errMalformed
		}
		return text, nil
	}
	expires, err := strconv.ParseInt(get("Expires"), 10, 64)
	if err != nil {
		return nil, errMalformed
	}
	return fmt.Appendf(nil, `{"Statement":[{"Resource":"%s","Condition":{"DateLessThan":{"AWS:EpochTime":%d}}}]}`, address, expires), nil
}

func (e *Edge) allows(text []byte, address, remote string) error {
	var p policy
	if err := json.Unmarshal(text, &p); err != nil || len(p.Statement) != 1 || p.Statement[0].Condition.DateLessThan == nil {
		return errMalformed
	}
	s := p.Statement[0]
	now := time.Now()
	if e.now != nil {
		now = e.now()
	}
	switch c := s.Condition; {
	case !matches(s.Resource, address):
		return denied(fmt.Sprintf("the policy is for %s, not for %s", s.Resource, address))
	case now.Unix() >= c.DateLessThan.Seconds:
		return denied("the policy has expired")
	case c.DateGreaterThan != nil && now.Unix() <= c.DateGreaterThan.Seconds:
		return denied("the policy has not begun")
	case c.IpAddress != nil:
		from, err := netip.ParseAddrPort(remote)
		if err != nil {
			return err
		}
		allowed, err := netip.ParsePrefix(c.IpAddress.SourceIP)
		if err != nil || !allowed.Addr().Is4() {
			return errMalformed
		}
		if !allowed.Contains(from.Addr().Unmap()) {
			return denied("the policy is for other addresses")
		}
	}
	return nil
}

// decode reads base64 with what CloudFront has in place of + = /.
func decode(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "=", "~", "/").Replace(s))
}

// matches reports whether an address is one that a resource stands for: * is any
// number of characters, ? is one.
func matches(resource, address string) bool {
	if resource == "" {
		return address == ""
	}
	switch resource[0] {
	case '*':
		return matches(resource[1:], address) || address != "" && matches(resource, address[1:])
	case '?':
		return address != "" && matches(resource[1:], address[1:])
	}
	return address != "" && address[0] == resource[0] && matches(resource[1:], address[1:])
}
