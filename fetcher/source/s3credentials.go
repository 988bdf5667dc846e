package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// awsChain takes credentials from where Amazon's own tools do: the environment,
// ~/.aws, single sign-on, a web identity, the machine's role.
type awsChain struct {
	region   string // empty where none is configured
	provider aws.CredentialsProvider
	expires  time.Time // zero means never
}

func newAWSChain() (*awsChain, error) {
	// Nothing is asked over the network yet, so there is nothing to cancel.
	c, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		return nil, &credentialsError{err}
	}
	return &awsChain{region: c.Region, provider: c.Credentials}, nil
}

// RetrieveWithCredContext implements [credentials.Provider]. Whoever calls it
// holds a lock.
func (a *awsChain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	ctx := context.Background()
	if cc != nil && cc.Context != nil {
		ctx = cc.Context
	}
	c, err := a.provider.Retrieve(ctx)
	if err != nil {
		return credentials.Value{}, &credentialsError{err}
	}
	a.expires = time.Time{}
	if c.CanExpire {
		a.expires = c.Expires
	}
	return credentials.Value{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		Expiration: a.expires, SignerType: credentials.SignatureV4,
	}, nil
}

// Retrieve implements [credentials.Provider].
func (a *awsChain) Retrieve() (credentials.Value, error) { return a.RetrieveWithCredContext(nil) }

// IsExpired implements [credentials.Provider].
func (a *awsChain) IsExpired() bool { return !a.expires.IsZero() && !time.Now().Before(a.expires) }

// credentialsError says that there are no credentials to sign with.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string {
	if program := (*processcreds.ProviderError)(nil); errors.As(e.err, &program) {
		// Its error repeats what the program printed, which may be a secret.
		return "no credentials: the credential_process of ~/.aws/config failed"
	}
	return fmt.Sprintf("no credentials: %v", e.err)
}

func (e *credentialsError) Unwrap() error { return e.err }

// Hint says where credentials come from.
func (e *credentialsError) Hint() string {
	return "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; add anonymous=true to the URL of a public bucket"
}
