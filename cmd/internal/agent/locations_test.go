package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/manifest"
)

// TestLocations: a manifest names what strangers can read from, in the form that
// qsync takes.
func TestLocations(t *testing.T) {
	got := locations([]config.Target{
		{Dir: &config.DirTarget{Path: "/srv/qsync"}},
		{Dir: &config.DirTarget{Path: "/srv/lab"}, URL: "http://127.0.0.1:8080"},
		{Dir: &config.DirTarget{Path: "/srv/cdn"}, URL: "https://cdn.example.org/qsync"},
		{Dir: &config.DirTarget{Path: "/srv/raw", Layout: "files"}, URL: "https://raw.example.org"},
		{S3: &config.S3Target{Bucket: "raw"}},
		{S3: &config.S3Target{Bucket: "other", Region: "eu-central-1", Endpoint: "https://store.example.org", Prefix: "mirrors/50% of it"}},
		{S3: &config.S3Target{Bucket: "lab", Endpoint: "http://10.0.0.7:9000"}},
		{S3: &config.S3Target{Bucket: "files", Region: "us-east-1", Layout: "files", RequesterPays: true}},
		{
			S3:         &config.S3Target{Bucket: "private", Region: "eu-central-1"},
			CloudFront: &config.CloudFront{Distribution: "E1", URL: "https://d111111abcdef8.cloudfront.net/x"},
		},
	})
	want := []manifest.Location{
		{Type: "http", URL: "https://cdn.example.org/qsync"},
		{Type: "http-files", URL: "https://raw.example.org"},
		{Type: "s3", URL: "s3://raw"},
		{Type: "s3", URL: "s3://other/mirrors/50%25%20of%20it?endpoint=https%3A%2F%2Fstore.example.org&region=eu-central-1"},
		{Type: "s3-files", URL: "s3://files?region=us-east-1&requester-pays=true"},
		{Type: "cloudfront", URL: "https://d111111abcdef8.cloudfront.net/x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, l := range got {
		if _, err := source.Open(l.URL); err != nil {
			t.Errorf("qsync does not read from %s: %v", l.URL, err)
		}
	}
	if got := locations([]config.Target{{Dir: &config.DirTarget{Path: "/srv/qsync"}}}); got != nil {
		t.Errorf("a directory is named: %v", got)
	}
}
