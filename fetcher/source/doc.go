// Package source has the places that package fetcher reads from, each in a file
// of its own. Package sourcetest has the tests that all of them pass.
package source

import (
	"fmt"
	"net/url"

	"github.com/qsync/qsync/fetcher"
)

// Open makes the source for a URL: http, https or file, or the path of a
// directory.
func Open(rawURL string) (fetcher.Source, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error repeats the URL, and with it a password.
		return nil, fmt.Errorf("source: the URL cannot be parsed")
	}
	switch u.Scheme {
	case "http", "https":
		return newHTTP(u)
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("source %s: a file URL has no host: write file:///path", u.Redacted())
		}
		return openDir(u.Path)
	case "":
		return openDir(rawURL)
	}
	return nil, fmt.Errorf("source %s: scheme %q is not known: want http, https, file or a path", u.Redacted(), u.Scheme)
}
