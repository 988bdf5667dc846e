package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/cmd/internal/cdn"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/cloudfront"
)

// acceptedWait is how long an invalidation of the doctor is looked at: whether it
// may be made and looked at is known by then.
const acceptedWait = 5 * time.Second

// checkCloudFront looks whether the distribution before a target does what it is
// there for.
func (d *doctor) checkCloudFront(ctx context.Context, cfg *config.Agent, p *publish.Publisher, t publish.Target, c *config.CloudFront) {
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	distribution, err := cloudfront.New(cloudfront.Options{Distribution: c.Distribution, URL: c.URL, Wait: acceptedWait})
	if err != nil {
		d.failed("CloudFront distribution "+c.Distribution, err, "")
		return
	}
	d.checkDistribution(ctx, distribution, c.URL)
	// One path of the thousand a month that cost nothing. The catalog loses nothing by it.
	what := "invalidation by " + distribution.String()
	if err := distribution.Invalidate(ctx, []string{manifest.CatalogKey}); err == nil || errors.Is(err, cloudfront.ErrLate) {
		d.ok(what, "one was accepted")
	} else {
		d.failed(what, err, "")
	}
	access := source.Access{}
	if c.Signer != nil {
		key, err := cdn.ReadKey(c.Signer.KeyPairID, c.Signer.KeyFile)
		if err != nil {
			d.failed("signer of "+c.URL, err, "")
			return
		}
		access.Signer = key.URLs()
	}
	for _, channel := range cfg.ChannelNames() {
		d.checkServed(ctx, p, t, c.URL, access, channel)
	}
}

func (d *doctor) checkDistribution(ctx context.Context, distribution *cloudfront.Distribution, address string) {
	what := distribution.String()
	about, err := distribution.Describe(ctx)
	if err != nil {
		d.failed(what, err, "")
		return
	}
	names := append([]string{about.Domain}, about.Aliases...)
	host := ""
	if u, err := url.Parse(address); err == nil {
		host = u.Hostname()
	}
	switch known := strings.Join(names, ", "); {
	case !about.Enabled:
		d.fail(what, "enable it", "it is disabled, and serves nothing")
	case !slices.Contains(names, host):
		d.fail(what, "correct distribution: or url: in the configuration, or add the name to the distribution as an alias",
			"it is known as %s, not as %s", known, host)
	case !about.Deployed:
		d.warn(what, "wait for some minutes", "its last change has not reached all places yet; it is known as %s", known)
	default:
		d.ok(what, "enabled and deployed, known as %s", known)
	}
}

// checkServed compares the head of a channel as those who fetch see it with what
// the target holds.
func (d *doctor) checkServed(ctx context.Context, p *publish.Publisher, t publish.Target, address string, access source.Access, channel string) {
	what := fmt.Sprintf("head of %s from %s", channel, address)
	key := manifest.HeadKey(channel)
	held, _, err := t.Load(ctx, key)
	if err != nil && !errors.Is(err, publish.ErrNotFound) {
		return // as checkHead has said
	}
	served, err := readFrom(ctx, address, access, key)
	switch {
	case held == nil && errors.Is(err, fetcher.ErrNotFound):
		d.ok(what, "nothing has been published yet")
	case held == nil && isPermanent(err):
		d.fail(what, "let the distribution list the bucket (s3:ListBucket), or those who fetch cannot tell what is missing from what is forbidden; qsyncd setup aws sees to it", "%s", err)
	case held == nil && err == nil:
		d.fail(what, "correct url: in the configuration, or the origin of the distribution", "it is served, and %s holds none", t)
	case errors.Is(err, fetcher.ErrNotFound):
		d.fail(what, "let url: end in the target's prefix, and let the distribution have this bucket as its origin", "%s holds it, and it is not found", t)
	case err != nil:
		d.failed(what, err, "")
	case !bytes.Equal(served, held):
		head, err := p.Policy.OpenHead(served, channel, time.Now())
		if err != nil {
			d.failed(what, err, "correct url: in the configuration, or the origin of the distribution")
			return
		}
		d.warn(what, "look again in a minute; if it stays so, the distribution keeps heads for too long, which qsyncd setup aws would tell",
			"sequence %d is served, which is not what %s holds", head.Sequence, t)
	default:
		d.ok(what, "what %s holds", t)
		d.checkShut(ctx, address, access, key)
	}
}

// isPermanent reports whether a server has answered and will not answer otherwise.
func isPermanent(err error) bool {
	permanent := (*backoff.PermanentError)(nil)
	return errors.As(err, &permanent)
}

// checkShut looks whether a place that is meant to be private is.
func (d *doctor) checkShut(ctx context.Context, address string, access source.Access, key string) {
	if access.Signer == nil {
		return
	}
	what := "privacy of " + address
	if _, err := readFrom(ctx, address, source.Access{}, key); err == nil {
		d.fail(what, "give the distribution's behaviours the key group, or remove signer: from the configuration", "everybody can read it")
		return
	}
	d.ok(what, "who has no signature is not let in")
}

func readFrom(ctx context.Context, address string, access source.Access, key string) ([]byte, error) {
	s, err := source.Options{Access: access}.Open(address)
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, key, publish.MaxMutableSize)
}
