package source

import (
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Access is what a web server that lets only some in wants to see: cookies, or
// URLs that are signed. With both, CloudFront looks at the signature alone.
type Access struct {
	Cookies []*http.Cookie
	Signer  URLSigner
}

// URLSigner signs a URL, which the server then serves until some time.
type URLSigner interface {
	Sign(rawURL string, until time.Time) (string, error)
}

// signedTime is how long a signature is good. It is looked at when a request
// comes, not while it is answered; clocks differ.
const signedTime = 5 * time.Minute

func (a *Access) given() bool { return len(a.Cookies) > 0 || a.Signer != nil }

// open puts the access into each request to the host of the source.
func (h *httpSource) open(a Access) error {
	host := h.base.Hostname()
	ip := net.ParseIP(host)
	here := host == "localhost" || ip != nil && ip.IsLoopback()
	if h.base.Scheme != "https" && !here {
		return fmt.Errorf("source %s: cookies and signatures are secrets, and go by https only", h)
	}
	h.access = a
	h.client.Transport = &opened{h.client.Transport, h.base, a}
	return nil
}

// opened is a transport whose requests bear the access, if they go to that very
// host. It is below the client, which so has it neither in its errors nor in what
// it tells another host that it is sent to.
type opened struct {
	next   http.RoundTripper
	base   *url.URL
	access Access
}

func (o *opened) RoundTrip(plain *http.Request) (*http.Response, error) {
	if plain.URL.Scheme != o.base.Scheme || plain.URL.Host != o.base.Host {
		return o.next.RoundTrip(plain)
	}
	r := plain.Clone(plain.Context())
	for _, c := range o.access.Cookies {
		r.AddCookie(c)
	}
	if o.access.Signer != nil {
		signed, err := o.access.Signer.Sign(r.URL.String(), time.Now().Add(signedTime))
		if err == nil {
			r.URL, err = url.Parse(signed)
		}
		if err != nil {
			return nil, backoff.Permanent(fmt.Errorf("the URL cannot be signed"))
		}
	}
	return o.next.RoundTrip(r)
}

// accessError says that the server does not let the reader in.
type accessError struct {
	text, hint string
	err        error
}

func (e *accessError) Error() string { return e.text + ": " + e.err.Error() }
func (e *accessError) Unwrap() error { return e.err }

// Hint says what lets the reader in.
func (e *accessError) Hint() string { return e.hint }

// explain says why a server has refused, as far as it is a matter of access.
func (a *Access) explain(resp *http.Response, err error) error {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnauthorized {
		return err
	}
	var refusal struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}
	_ = xml.NewDecoder(resp.Body).Decode(&refusal)
	e := &accessError{err: err}
	switch {
	case a.Signer != nil:
		e.text = "the signature of the URL is not accepted"
		e.hint = "compare the key and its identifier with the publisher's, and the clock of this machine with another"
	case len(a.Cookies) > 0:
		e.text = "the cookies are not accepted"
		e.hint = "they may be for another place, or for another address than this machine's: ask the publisher for new ones"
		for _, c := range a.Cookies {
			if !c.Expires.IsZero() && !c.Expires.After(time.Now()) {
				e.text = "the cookies have expired at " + c.Expires.UTC().Format(time.RFC3339)
				e.hint = "ask the publisher for new ones; the same command then goes on where it stopped"
			}
		}
	case refusal.Code == "MissingKey":
		e.text = "the place is private"
		e.hint = "ask the publisher for cookies and give them with --cookie-file, or a key with --sign-urls"
	default:
		return err
	}
	return backoff.Permanent(e)
}
