// Package cloudfront is a publish.Cache: a distribution of Amazon CloudFront in
// front of a bucket.
//
// CloudFront keeps what it has once been asked for. Immutable objects are named by
// their content, so it may keep them for ever; a head it keeps for some seconds
// (publish.CacheShortly). An invalidation makes it forget the head at once, at all
// of its places: it is ordered, and then looked at until it is complete, which
// takes seconds and now and then minutes.
//
// Each try to order the same invalidation bears the same reference, by which
// CloudFront knows that it has it already.
package cloudfront

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"

	"github.com/qsync/qsync/publish"
)

// DefaultWait is how long an invalidation may take.
const DefaultWait = 2 * time.Minute

// Options say which distribution it is.
type Options struct {
	// Distribution is its identifier, like E2QWRUHEXAMPLE.
	Distribution string
	// URL is what those who fetch have the objects from: https://HOST and the path,
	// if there is one, that all keys lie below.
	URL string
	// Wait is how long an invalidation may take; 0 means DefaultWait.
	Wait time.Duration
}

// Distribution is a distribution. It is safe for concurrent use.
type Distribution struct {
	api  *cloudfront.Client
	id   string
	path string // that keys lie below; empty, or it begins with a slash
	wait time.Duration
}

var _ publish.Cache = (*Distribution)(nil)

// New returns the distribution. It reads the AWS configuration, and asks CloudFront
// nothing.
func New(o Options) (*Distribution, error) {
	config, err := Config(context.Background()) // it reads files and no more
	if err != nil {
		return nil, fmt.Errorf("open CloudFront distribution %s: %w", o.Distribution, err)
	}
	return newDistribution(config, o)
}

func newDistribution(config aws.Config, o Options) (*Distribution, error) {
	u, err := url.Parse(o.URL)
	if err != nil || o.Distribution == "" {
		return nil, fmt.Errorf("open CloudFront distribution %q: it has no name, or no URL that can be parsed", o.Distribution)
	}
	d := &Distribution{api: cloudfront.NewFromConfig(config), id: o.Distribution, wait: o.Wait}
	if d.path = path.Join("/", u.Path); d.path == "/" {
		d.path = ""
	}
	if d.wait == 0 {
		d.wait = DefaultWait
	}
	return d, nil
}

// String implements [publish.Cache].
func (d *Distribution) String() string { return "CloudFront distribution " + d.id }

// Description is what CloudFront says of a distribution.
type Description struct {
	Domain   string   // under cloudfront.net
	Aliases  []string // other names of it
	Enabled  bool
	Deployed bool // its configuration has reached all places
}

// Describe asks for the distribution.
func (d *Distribution) Describe(ctx context.Context) (Description, error) {
	out, err := retry(ctx, func(ctx context.Context) (*cloudfront.GetDistributionOutput, error) {
		return d.api.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: &d.id})
	})
	if err != nil {
		return Description{}, fmt.Errorf("look at %s: %w", d, err)
	}
	got := out.Distribution
	about := Description{
		Domain:   aws.ToString(got.DomainName),
		Deployed: aws.ToString(got.Status) == "Deployed",
	}
	if c := got.DistributionConfig; c != nil {
		about.Enabled = aws.ToBool(c.Enabled)
		if c.Aliases != nil {
			about.Aliases = c.Aliases.Items
		}
	}
	return about, nil
}

// paths are the keys as CloudFront wants them.
func (d *Distribution) paths(keys []string) []string {
	paths := make([]string, len(keys))
	for i, key := range keys {
		paths[i] = escape(d.path + "/" + key)
	}
	return paths
}

// escape encodes what CloudFront wants encoded in the path of an invalidation:
// the characters that RFC 1738 calls unsafe and those beyond ASCII. With any other
// that is encoded it would not know the path.
func escape(p string) string {
	var b strings.Builder
	for i := range len(p) {
		if c := p[i]; c <= ' ' || c > '~' || strings.IndexByte("\"#%<>[\\]^`{|}~", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
