package config

import (
	"net"
	"net/url"
	"strings"

	"github.com/qsync/qsync/manifest"
)

// CloudFront is a distribution of Amazon CloudFront. Credentials come from where
// those of the bucket do.
type CloudFront struct {
	// Distribution is its identifier, like E2QWRUHEXAMPLE. It is told to forget each
	// head, catalog and list of keys that has changed.
	Distribution string `yaml:"distribution"`

	// URL is where those who fetch find what is in the target, like
	// https://d111111abcdef8.cloudfront.net. If the target has a prefix, so has the
	// URL. Manifests name it.
	URL string `yaml:"url"`

	// Signer is for a distribution that serves nothing to those who are not let in.
	// `qsyncd cookies` makes what lets them in. Default: everybody may read.
	Signer *SigningKey `yaml:"signer"`
}

// SigningKey is a key that a private distribution believes.
type SigningKey struct {
	// KeyPairID is what CloudFront calls the public key, which is in a key group of
	// the distribution, like K2JCJMDEHXQW5F.
	KeyPairID string `yaml:"key_pair_id"`

	// KeyFile holds the private key: RSA of 2048 bits, PEM, as `openssl genrsa 2048`
	// writes it. Nobody but its owner may be able to read it.
	KeyFile string `yaml:"key_file"`
}

func (c *CloudFront) check(d *document, key string) error {
	if err := d.required(key, map[string]string{"distribution": c.Distribution, "url": c.URL}); err != nil {
		return err
	}
	if !isAWSName(c.Distribution) {
		return d.fault(key+".distribution", "write it like E2QWRUHEXAMPLE; qsyncd setup aws prints it", "%.80q is not the identifier of a distribution", c.Distribution)
	}
	if !isPublicURL(c.URL) {
		// Its value stays unsaid: there may be a password in it.
		return d.fault(key+".url", "write https://d111111abcdef8.cloudfront.net, and the target's prefix behind it if it has one", "want an https URL of a host and a path")
	}
	if c.Signer != nil {
		return c.Signer.check(d, key+".signer")
	}
	return nil
}

func (s *SigningKey) check(d *document, key string) error {
	if err := d.required(key, map[string]string{"key_pair_id": s.KeyPairID, "key_file": s.KeyFile}); err != nil {
		return err
	}
	if !isAWSName(s.KeyPairID) {
		return d.fault(key+".key_pair_id", "write it like K2JCJMDEHXQW5F", "%.80q is not the identifier of a key", s.KeyPairID)
	}
	return nil
}

// isAWSName reports whether s has the form of the names that CloudFront makes.
func isAWSName(s string) bool {
	return len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == "" && s != ""
}

// isPublicURL reports whether everybody may know the URL, and can use it: a
// manifest is to name it.
func isPublicURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && IsSafe(u) && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" &&
		len(s) <= manifest.MaxURLLength && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// IsSafe reports whether nobody on the way sees what is sent to a URL.
func IsSafe(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
