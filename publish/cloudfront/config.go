package cloudfront

import (
	"cmp"
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
)

// Config is the AWS configuration of this machine: environment, shared files, the
// machine's role. Nothing is asked for it yet. Its clients do not try again, which
// who calls them does; for a request that cannot be signed their error is a
// [CredentialsError].
func Config(ctx context.Context) (aws.Config, error) {
	config, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return aws.Config{}, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if config.HTTPClient == nil { // unless AWS_CA_BUNDLE is given
		config.HTTPClient = awshttp.NewBuildableClient()
	}
	config.HTTPClient = readBodies{config.HTTPClient}
	config.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	config.Credentials = aws.NewCredentialsCache(chain{config.Credentials})
	// CloudFront is in no region, and its client wants one.
	config.Region = cmp.Or(config.Region, "us-east-1")
	return config, nil
}

// CredentialsError says that there is nothing to sign with.
type CredentialsError struct{ err error }

func (e *CredentialsError) Error() string { return fmt.Sprintf("no credentials: %s", e.err) }

func (e *CredentialsError) Unwrap() error { return e.err }

// Hint says where credentials come from.
func (e *CredentialsError) Hint() string {
	return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role"
}

// chain is where AWS's own tools take credentials from.
type chain struct{ aws.CredentialsProvider }

// Retrieve implements [aws.CredentialsProvider].
func (c chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = &CredentialsError{err}
	}
	return v, err
}
