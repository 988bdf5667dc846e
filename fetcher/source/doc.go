// Package source has the places that package fetcher reads from, each in a file
// of its own. Package sourcetest has the tests that all of them pass.
package source

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/qsync/qsync/fetcher"
)

// ErrRequesterPays says that reading from a bucket would be billed to the user,
// who has not agreed. Errors that wrap it wrap [fetcher.ErrConsent] too.
var ErrRequesterPays = errors.New("the requester would pay")

// Options say what the user agreed to, and what opens a place that is private.
type Options struct {
	// Consent lets a bucket's owner have the user billed for what is read. Without
	// it no request ever offers to pay.
	Consent *Consent
	// Access opens a web server that lets only some in. It goes to the host of the
	// URL and to no other, and by https only.
	Access Access
}

// Open makes the source for a URL without any consent of the user: see
// [Options.Open].
func Open(rawURL string) (fetcher.Source, error) { return Options{}.Open(rawURL) }

// Open makes the source for a URL: http, https, file or s3, or the path of a
// directory. The form of an s3 URL is
//
//	s3://BUCKET/PREFIX?region=REGION&endpoint=https://HOST:PORT&anonymous=true&requester-pays=true
//
// of which all from the question mark on may be left out. The endpoint is
// Amazon's if none is named, the region the one that is configured for Amazon's
// tools, or us-east-1. An anonymous request is not signed; for others
// credentials are looked for where Amazon's tools find them. They need the
// permissions s3:GetObject and, for an object that is missing to be told from one
// that is forbidden, s3:ListBucket.
func (o Options) Open(rawURL string) (fetcher.Source, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error repeats the URL, and with it a password.
		return nil, fmt.Errorf("source: the URL cannot be parsed")
	}
	switch u.Scheme {
	case "http", "https":
		h, err := newHTTP(u)
		if err == nil && o.Access.given() {
			err = h.open(o.Access)
		}
		if err != nil {
			return nil, err
		}
		return h, nil
	case "s3":
		return newS3(u, o)
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("source %s: a file URL has no host: write file:///path", u.Redacted())
		}
		return openDir(u.Path)
	case "":
		return openDir(rawURL)
	}
	if IsUnsigned(rawURL) {
		return nil, fmt.Errorf("source %s: nobody has signed what is there, so that only a fetch with --unsigned reads it", u.Redacted())
	}
	return nil, fmt.Errorf("source %s: scheme %q is not known: want http, https, file, s3 or a path", u.Redacted(), u.Scheme)
}
