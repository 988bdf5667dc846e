package source

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// TestS3SharedConfig takes region and credentials from the files that Amazon's
// tools keep.
func TestS3SharedConfig(t *testing.T) {
	b := newBucket(t, "", map[string][]byte{"catalog": []byte("small")})
	useAWS(t, "", "")
	files := store(t, map[string][]byte{
		"config":      []byte("[profile mirror]\nregion = " + b.server.Region + "\n"),
		"credentials": []byte("[mirror]\naws_access_key_id = " + b.server.AccessKey + "\naws_secret_access_key = " + b.server.SecretKey + "\n"),
	})
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(files, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(files, "credentials"))
	t.Setenv("AWS_PROFILE", "mirror")
	s := mustOpen(t, "s3://"+b.server.Bucket+"?endpoint="+b.server.Endpoint)
	if got, err := s.Get(t.Context(), "catalog", 10); err != nil || string(got) != "small" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestS3CredentialProcess has a program print a secret in a form that cannot be
// read, which the error of Amazon's library repeats.
func TestS3CredentialProcess(t *testing.T) {
	useAWS(t, "", "")
	config := filepath.Join(t.TempDir(), "config")
	check(t, os.WriteFile(config, []byte("[default]\ncredential_process = echo hunter2\n"), 0o600))
	t.Setenv("AWS_CONFIG_FILE", config)
	_, err := mustOpen(t, "s3://bucket-name?endpoint=http://127.0.0.1:1").Get(t.Context(), "catalog", 10)
	isPermanent(t, err, "credential_process")
	if strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

// TestS3CredentialsAreRenewed lets credentials expire.
func TestS3CredentialsAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := 0
		signAs := credentials.New(&awsChain{provider: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			issued++
			return aws.Credentials{AccessKeyID: fmt.Sprint(issued), CanExpire: true, Expires: time.Now().Add(time.Hour)}, nil
		})})
		for i, want := range []string{"1", "1", "2"} {
			time.Sleep(time.Duration(i) * 40 * time.Minute)
			if got, err := signAs.GetWithContext(nil); err != nil || got.AccessKeyID != want {
				t.Errorf("time %d: got credentials %s, %v; want %s", i, got.AccessKeyID, err, want)
			}
		}
	})
}
