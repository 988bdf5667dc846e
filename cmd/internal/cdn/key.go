// Package cdn has what opens a private CloudFront distribution to those who fetch:
// the key that signs for it, the cookies that are signed with it, and the file in
// which cookies go from a publisher to an operator.
package cdn

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/cloudfront/sign"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
)

// Key signs for a distribution.
type Key struct {
	id      string // that CloudFront has given its public half
	private *rsa.PrivateKey
}

// keyBits is the one size of RSA keys that CloudFront takes.
const keyBits = 2048

// ReadKey reads the private key of a key pair from a file that nobody but its
// owner can read.
func ReadKey(id, file string) (*Key, error) {
	b, err := config.ReadSecret(file)
	if err != nil {
		return nil, fmt.Errorf("read the key %s of the CDN: %w", id, err)
	}
	private, err := parseKey(b)
	if err != nil {
		return nil, term.WithHint(fmt.Errorf("read the key %s of the CDN: %s: %w", id, file, err), "openssl genrsa 2048 makes one")
	}
	return &Key{id, private}, nil
}

// parseKey reads both forms that OpenSSL writes. Its errors say nothing of the
// content.
func parseKey(b []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("it is no PEM")
	}
	private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("it is no private key")
		}
		var ok bool
		if private, ok = any.(*rsa.PrivateKey); !ok {
			return nil, errors.New("it is no RSA key")
		}
	}
	if n := private.N.BitLen(); n != keyBits {
		return nil, fmt.Errorf("it has %d bits, and CloudFront takes %d", n, keyBits)
	}
	return private, nil
}

// Public is the public half in PEM, as CloudFront wants it.
func (k *Key) Public() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.private.PublicKey)
	if err != nil {
		return "", fmt.Errorf("write the public half of the key %s of the CDN: %w", k.id, err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// URLs signs URLs.
func (k *Key) URLs() *sign.URLSigner { return sign.NewURLSigner(k.id, k.private) }

// Cookies open all that lies below a base URL until some time, from anywhere or
// from some IPv4 addresses only.
func (k *Key) Cookies(base *url.URL, until time.Time, from netip.Prefix) ([]*http.Cookie, error) {
	below := *base
	below.Path = strings.TrimSuffix(below.Path, "/") + "/"
	statement := sign.Statement{
		Resource:  below.String() + "*",
		Condition: sign.Condition{DateLessThan: sign.NewAWSEpochTime(until)},
	}
	if from.IsValid() {
		statement.Condition.IPAddress = &sign.IPAddress{SourceIP: from.String()}
	}
	cookies, err := sign.NewCookieSigner(k.id, k.private).SignWithPolicy(&sign.Policy{Statements: []sign.Statement{statement}})
	if err != nil {
		return nil, fmt.Errorf("sign cookies for %s: %w", base.Host, err)
	}
	for _, c := range cookies {
		c.Domain, c.Path, c.Expires, c.Secure = base.Hostname(), below.EscapedPath(), until, true
	}
	return cookies, nil
}
