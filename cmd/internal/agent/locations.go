package agent

import (
	"net/url"
	"strings"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
)

// locations are the places of the targets that a stranger can read from.
func locations(targets []config.Target) []manifest.Location {
	var all []manifest.Location
	for _, t := range targets {
		switch {
		case t.CloudFront != nil:
			// The bucket behind it is for the distribution alone.
			all = append(all, manifest.Location{Type: "cloudfront", URL: t.CloudFront.URL})
		case t.Dir != nil && strings.HasPrefix(t.URL, "https:"):
			kind := "http"
			if t.HasFiles() {
				kind = "http-files"
			}
			all = append(all, manifest.Location{Type: kind, URL: t.URL})
		case t.S3 != nil && !strings.HasPrefix(t.S3.Endpoint, "http:"): // which is this machine, or one beside it
			kind := "s3"
			if t.HasFiles() {
				kind = "s3-files"
			}
			all = append(all, manifest.Location{Type: kind, URL: bucketURL(t.S3)})
		}
	}
	return all
}

// bucketURL is the bucket as qsync reads from it.
func bucketURL(s *config.S3Target) string {
	query := url.Values{}
	if s.Region != "" {
		query.Set("region", s.Region)
	}
	if s.Endpoint != "" {
		query.Set("endpoint", s.Endpoint)
	}
	if s.RequesterPays {
		query.Set("requester-pays", "true")
	}
	u := url.URL{Scheme: "s3", Host: s.Bucket, Path: s.Prefix, RawQuery: query.Encode()}
	return u.String()
}
