// Package s3 is a publish.Target in a bucket of any store that speaks S3: every
// object is the store's object <prefix>/<key>.
//
// What Put and Swap stored survives the loss of power because the store answers
// a write only when it has it for good, and shows it to everybody at once: S3 is
// strongly consistent, and a store that is not cannot be a target.
//
// The store orders the writers. An immutable object is written if there is none
// (If-None-Match: *), a pointer if its ETag is still the given one (If-Match). A
// store that ignores these conditions cannot be shared by two agents.
//
// Answers get lost. Each request is tried again for some seconds; a write that
// is then refused because its condition does not hold any more may be refused
// because of itself, so what is there is looked at before it is an error.
//
// In a bucket with versioning nothing that is deleted goes away. Let a lifecycle
// rule of the bucket remove noncurrent versions.
package s3

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/publish"
)

// Options say where a target is.
type Options struct {
	Bucket string
	// Region of the bucket. Default: that of the AWS configuration (AWS_REGION,
	// the profile), which must then say one.
	Region string
	// Endpoint is the URL of the store, http or https, without a path. Default: AWS.
	Endpoint string
	// Prefix is a clean relative path that all keys lie below. Default: none.
	Prefix string
	// StorageClass of immutable objects. Default: the store's. Pointers are
	// rewritten all the time, which other classes charge for: they have none.
	StorageClass string
	// Credentials replace the AWS chain: environment, shared configuration and
	// SSO, web identity, the metadata of the machine.
	Credentials aws.CredentialsProvider
}

// Target is a prefix of a bucket. It is safe for concurrent use, also by several
// processes on several machines.
type Target struct {
	store        *minio.Core
	host         string // of a store that is not AWS
	bucket       string
	prefix       string // empty, or it ends in a slash
	storageClass string
	paces        paces
	// knowsChecksums says that the store checks bodies against a checksum.
	knowsChecksums atomic.Bool
	// bareTags says that the store wants ETags without quotes: see swapBare.
	bareTags atomic.Bool
	client   *http.Client // for the one request that minio-go has no call for
}

var (
	_ publish.Target    = (*Target)(nil)
	_ publish.Leftovers = (*Target)(nil)
)

// New returns the target. It reads the AWS configuration, and asks the store
// nothing.
func New(o Options) (*Target, error) {
	t := &Target{bucket: o.Bucket, storageClass: o.StorageClass}
	if o.Prefix != "" {
		if !publish.ValidKey(o.Prefix) {
			return nil, fmt.Errorf("open bucket %s: prefix %.80q is not a clean relative path without dot files", o.Bucket, o.Prefix)
		}
		t.prefix = o.Prefix + "/"
	}
	address, secure := "s3.amazonaws.com", true // minio finds the region's own address
	if o.Endpoint != "" {
		u, err := parseEndpoint(o.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("open bucket %s: %w", o.Bucket, err)
		}
		t.host, address, secure = u.Host, u.Host, u.Scheme == "https"
	}
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", t, err)
	}
	// Each attempt has a limit of its own: a copy is answered when it is made, and one of
	// a large object takes longer than the minute that other requests are given here.
	transport.ResponseHeaderTimeout = 0
	t.client = &http.Client{
		Transport: transport,
		// A redirect would carry the signature to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	region, chain, err := signing(o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", t, err)
	}
	t.store, err = minio.NewCore(address, &minio.Options{
		Creds:      chain,
		Secure:     secure,
		Transport:  transport,
		Region:     region,
		MaxRetries: 1, // see retry
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", t, err)
	}
	return t, nil
}

// parseEndpoint takes the URL of a store. Errors do not repeat it: there may be a
// password in it.
func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the endpoint is not http:// or https:// with a host and nothing else")
	}
	return u, nil
}

// String implements [publish.Target].
func (t *Target) String() string {
	name := "s3://" + path.Join(t.bucket, t.prefix)
	if t.host != "" {
		name += " at " + t.host
	}
	return name
}

// name is the store's name of a key.
func (t *Target) name(key string) (string, error) {
	if !publish.ValidKey(key) {
		return "", fmt.Errorf("key %.80q is not a clean relative path without dot files", key)
	}
	return t.prefix + key, nil
}
