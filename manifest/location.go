package manifest

import (
	"net/url"
	"strings"
)

// Location is a place, beside the one that the manifest came from, that holds
// the snapshot.
type Location struct {
	Type string `json:"type"`
	URL  string `json:"url"`
	Use  Use    `json:"use,omitempty"`
}

// Use is how the publisher asks that a place is used for the files of a snapshot. The
// signed texts, manifests and the index may be read there in any case. The zero value
// is as any other place.
type Use string

// The other uses.
const (
	UseLast  Use = "last"  // for what no other place has
	UseNever Use = "never" // not at all
)

// UseOf is how the publisher asks that the place at a URL is used.
func (m *Manifest) UseOf(rawURL string) Use {
	for _, l := range m.Locations {
		if SamePlace(rawURL, l.URL) {
			return l.Use
		}
	}
	return ""
}

// requesterPays is what the URL of a bucket says whose readers are billed.
const requesterPays = "requester-pays"

// BillsReaders reports whether the URL of a place says that whoever reads there is billed
// for it.
func BillsReaders(rawURL string) bool {
	u, err := url.Parse(rawURL)
	return err == nil && u.Scheme == "s3" && u.Query().Get(requesterPays) == "true"
}

// SamePlace reports whether two URLs are those of one place, as FORMAT.md, section 5.1,
// has it.
func SamePlace(a, b string) bool {
	one, is := placeOf(a)
	other, too := placeOf(b)
	return is && too && one == other
}

// place is what two URLs of one place have in common.
type place struct{ kind, host, bucket, path string }

// placeOf is the place at a URL. What is neither a web server nor a bucket is none.
func placeOf(rawURL string) (p place, is bool) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return p, false
	}
	path := strings.Trim(u.Path, "/")
	switch u.Scheme {
	case "http", "https":
		return place{"web", hostOf(u), "", path}, true
	case "s3":
		endpoint, err := url.Parse(u.Query().Get("endpoint"))
		if err != nil {
			return p, false
		}
		return place{"s3", hostOf(endpoint), u.Host, path}, true
	}
	return p, false
}

// hostOf is host and port, where a default port is none.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if port := u.Port(); u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return host
}
