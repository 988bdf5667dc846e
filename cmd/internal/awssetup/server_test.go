package awssetup

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/qsync/qsync/publish/cloudfront"
	"github.com/qsync/qsync/scripts/s3server"
)

// TestServer does with a real server what it knows: buckets, tags, who owns objects,
// and policies. That others' objects cannot be read, and those of the policy can, is
// the server's doing.
func TestServer(t *testing.T) {
	server := s3server.Start(t)
	nowhere := filepath.Join(t.TempDir(), "nothing")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_CA_BUNDLE": "", "AWS_ENDPOINT_URL_S3": server.Endpoint,
	} {
		t.Setenv(name, value)
	}
	config, err := cloudfront.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var findings []Finding
	s := &setup{
		Plan: &Plan{Raw: &Bucket{Name: "polka-raw", Region: server.Region}}, s3: s3.NewFromConfig(config),
		Options: Options{Report: func(f Finding) { findings = append(findings, f) }},
	}
	settle := func() (*bucket, []Finding) {
		t.Helper()
		findings = nil
		b := &bucket{&resource{name: "bucket polka-raw"}, s.Raw, rawTag(s.Raw)}
		for _, step := range []func() error{
			func() error { return s.findBucket(t.Context(), b) },
			func() error { return s.settleTag(t.Context(), b) },
			func() error { return s.settleOwnership(t.Context(), b) },
			func() error { return s.settlePolicy(t.Context(), b, s.rawPolicy()) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		return b, findings
	}
	if b, found := settle(); !b.isNew || len(found) < 4 || found[0].Action != Created {
		t.Errorf("made: %+v, %+v", b.resource, found)
	}
	b, found := settle()
	if b.isNew || !b.own || len(found) != 1 || found[0].Action != AsWanted {
		t.Errorf("looked at again: %+v, %+v", b.resource, found)
	}
	// Somebody adds a statement, and spoils one of ours.
	out, err := s.s3.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: &b.Name}, in(b.Bucket))
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Replace(*out.Policy, `"Statement":[`, `"Statement":[{"Sid":"Theirs","Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::polka-raw/*"},`, 1)
	theirs = strings.Replace(theirs, "s3:GetObject", "s3:PutObject", 1)
	if _, err := s.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &b.Name, Policy: &theirs}, in(b.Bucket)); err != nil {
		t.Fatal(err)
	}
	if _, found := settle(); len(found) != 1 || found[0].Setting != "Policy.QsyncRead" || found[0].Action != Changed {
		t.Errorf("spoilt: %+v", found)
	}
	if out, err = s.s3.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: &b.Name}, in(b.Bucket)); err != nil || !strings.Contains(*out.Policy, `"Theirs"`) || strings.Contains(*out.Policy, "PutObject") {
		t.Errorf("%v: %s", err, aws.ToString(out.Policy))
	}
	// A bucket with tags of others, or with something in it, is theirs.
	s.Raw = &Bucket{Name: server.Bucket, Region: server.Region}
	if _, err := s.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.Raw.Name, Key: aws.String("a"), Body: strings.NewReader("a")}, in(s.Raw)); err != nil {
		t.Fatal(err)
	}
	if b, found := settle(); b.own || slices.ContainsFunc(found, func(f Finding) bool { return f.Action != Left }) {
		t.Errorf("somebody's: %+v, %+v", b.resource, found)
	}
	// What this server does not have is named.
	wantError(t, "lifecycle", s.settleLifecycle(t.Context(), b), "S3 answers ", "")
}
