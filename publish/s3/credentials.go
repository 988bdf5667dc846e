package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// signing returns what requests are signed with: the region and the credentials.
func signing(o Options) (region string, _ *credentials.Credentials, err error) {
	provider, region := o.Credentials, o.Region
	if provider == nil || region == "" {
		chain, err := awsconfig.LoadDefaultConfig(context.Background()) // it reads files and no more
		if err != nil {
			return "", nil, fmt.Errorf("read the AWS configuration: %w", err)
		}
		region = cmp.Or(region, chain.Region)
		if provider == nil {
			provider = chain.Credentials
		}
	}
	if region == "" {
		return "", nil, errors.New("no region: configure the bucket's (a store that has none takes us-east-1)")
	}
	return region, credentials.New(bridge{aws.NewCredentialsCache(provider)}), nil
}

// bridge hands the credentials of AWS's chain to minio-go. The cache inside
// keeps them until they expire, so it is asked every time.
type bridge struct{ cache *aws.CredentialsCache }

// credentialsError says that there is nothing to sign with.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string {
	return fmt.Sprintf("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role: %s", e.err)
}

func (e *credentialsError) Unwrap() error { return e.err }

// RetrieveWithCredContext implements [credentials.Provider].
func (b bridge) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	ctx := context.Background()
	if cc != nil && cc.Context != nil {
		ctx = cc.Context
	}
	c, err := b.cache.Retrieve(ctx)
	if err != nil {
		return credentials.Value{}, &credentialsError{err}
	}
	return credentials.Value{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		Expiration: c.Expires, SignerType: credentials.SignatureV4,
	}, nil
}

// Retrieve implements [credentials.Provider].
func (b bridge) Retrieve() (credentials.Value, error) { return b.RetrieveWithCredContext(nil) }

// IsExpired implements [credentials.Provider].
func (bridge) IsExpired() bool { return true }
