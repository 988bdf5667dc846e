package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/qsync/qsync/fetcher"
)

// s3Source reads a published tree from a bucket of S3 or of a store that speaks
// its protocol.
type s3Source struct {
	place  s3Place
	client *minio.Core
	// transport is the client's, for the one request that it has no call for.
	transport http.RoundTripper
	// creds are what requests are signed with.
	creds   *credentials.Credentials
	consent *Consent
	price   *Price // nil if it is not known
	// pays says that the bucket is known to bill whoever reads from it.
	pays atomic.Bool
	// stall is how long a stream may stand still.
	stall time.Duration
}

func newS3(u *url.URL, options Options) (*s3Source, error) {
	place, err := parseS3(u)
	if err != nil {
		return nil, err
	}
	// The connections are as to any web server.
	server, err := newHTTP(place.endpoint)
	if err != nil {
		return nil, err
	}
	signAs := credentials.NewStatic("", "", "", credentials.SignatureAnonymous)
	region := place.region
	if !place.anonymous {
		chain, err := newAWSChain()
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", place, err)
		}
		signAs = credentials.New(chain)
		if region == "" {
			region = chain.region
		}
	}
	if region == "" {
		region = "us-east-1"
	}
	client, err := minio.NewCore(place.endpoint.Host, &minio.Options{
		Creds:     signAs,
		Secure:    place.endpoint.Scheme == "https",
		Transport: server.client.Transport,
		// Without a region the client would ask for the bucket's first.
		Region:     region,
		MaxRetries: 1, // who reads from a source tries again
	})
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", place, err)
	}
	client.SetAppInfo("qsync", "1")
	s := &s3Source{
		place:     place,
		client:    client,
		transport: server.client.Transport,
		creds:     signAs,
		consent:   options.Consent,
		stall:     stallTimeout,
	}
	if place.anonymous {
		s.consent = nil // nobody could be billed
	}
	if place.ofAWS {
		s.price = amazonPrice(region)
	}
	s.pays.Store(place.requesterPays)
	return s, nil
}

func (s *s3Source) String() string { return s.place.String() }

func (s *s3Source) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	body, err := s.request(ctx, key, "", limit, func(resp *http.Response) error {
		if resp.Header.Get("Content-Range") != "" {
			return errors.New("server answered with a part, but nobody asked for one")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return readAll(body, key, limit)
}

func (s *s3Source) Open(ctx context.Context, span fetcher.Span) (io.ReadCloser, error) {
	wanted := ""
	if !span.Whole() {
		wanted = fmt.Sprintf("bytes=%d-%d", span.Offset, span.Offset+span.Length-1)
	}
	body, err := s.request(ctx, span.Key, wanted, span.Length, func(resp *http.Response) error {
		switch part := resp.Header.Get("Content-Range") != ""; {
		case part:
			return checkRange(resp, span)
		case wanted != "":
			// Somebody would be billed for all of it.
			return backoff.Permanent(errors.New("server sent the whole object, but a part of it was asked for"))
		}
		return checkLength(resp, span.Size)
	})
	if err != nil {
		return nil, err
	}
	return cut(body, 0, span)
}

// get gets an object or a part of it, and returns the body of an answer that check
// accepts. With offer it offers to pay.
func (s *s3Source) get(ctx context.Context, key, byteRange string, offer bool, check func(*http.Response) error) (io.ReadCloser, error) {
	var get minio.GetObjectOptions
	if byteRange != "" {
		get.Set("Range", byteRange)
	}
	if offer {
		get.Set(payerHeader, payerOffer)
	}
	ctx, cancel := context.WithCancel(ctx)
	body, info, header, err := s.client.GetObject(ctx, s.place.bucket, s.place.key(key), get)
	if err != nil {
		defer cancel()
		return nil, s.explain(ctx, err, offer)
	}
	if header.Get(chargedHeader) != "" {
		s.pays.Store(true)
	}
	stream := newStallReader(body, cancel, s.stall)
	// The client has looked at the status already, and tells neither it nor
	// the rest of the answer.
	if err := check(&http.Response{Header: header, ContentLength: info.Size}); err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return stream, nil
}

// s3Place is what an s3 URL says.
type s3Place struct {
	bucket   string
	prefix   string // with no slash at its ends
	region   string // empty: the one that is configured on this machine
	endpoint *url.URL
	// ofAWS says that the endpoint is Amazon's own.
	ofAWS         bool
	anonymous     bool
	requesterPays bool
}

// parseS3 reads s3://BUCKET/PREFIX?region=…&endpoint=…&anonymous=…&requester-pays=….
// Its errors repeat no more of the URL than cannot be secret.
func parseS3(u *url.URL) (s3Place, error) {
	p := s3Place{bucket: u.Host, prefix: strings.Trim(u.Path, "/"), ofAWS: true}
	fail := func(format string, args ...any) (s3Place, error) {
		return s3Place{}, fmt.Errorf("source s3://%s/%s: "+format, append([]any{p.bucket, p.prefix}, args...)...)
	}
	if u.User != nil {
		return fail("credentials do not belong into the URL: they are taken from the environment or from ~/.aws")
	}
	if p.bucket == "" || u.Port() != "" || u.Fragment != "" {
		return fail("want s3://BUCKET/PREFIX")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fail("what follows the question mark cannot be parsed")
	}
	p.endpoint = &url.URL{Scheme: "https", Host: "s3.amazonaws.com"}
	for name, values := range query {
		value := values[0]
		if len(values) > 1 {
			return fail("%s is given twice", name)
		}
		switch name {
		case "region":
			p.region = value
		case "endpoint":
			p.ofAWS = false
			p.endpoint, err = url.Parse(value)
			if err != nil || p.endpoint.Host == "" || p.endpoint.Scheme != "http" && p.endpoint.Scheme != "https" ||
				p.endpoint.User != nil || strings.Trim(p.endpoint.Path, "/") != "" || p.endpoint.RawQuery != "" {
				return fail("the endpoint is not of the form https://HOST:PORT")
			}
		case "anonymous", "requester-pays":
			on, err := strconv.ParseBool(value)
			if err != nil {
				return fail("%s is neither true nor false", name)
			}
			if name == "anonymous" {
				p.anonymous = on
			} else {
				p.requesterPays = on
			}
		default:
			return fail("%.40q is not known: want region, endpoint, anonymous or requester-pays", name)
		}
	}
	if p.anonymous && p.requesterPays {
		return fail("a requester who pays cannot be anonymous")
	}
	return p, nil
}

func (p s3Place) key(key string) string {
	if p.prefix == "" {
		return key
	}
	return p.prefix + "/" + key
}

func (p s3Place) String() string {
	name := "s3://" + p.bucket + "/" + p.prefix
	if !p.ofAWS {
		name += " at " + p.endpoint.Host
	}
	return name
}
