package awssetup

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"

	"github.com/qsync/qsync/publish/cloudfront"
)

// setupError is an error with what to do about it.
type setupError struct {
	err  error
	text string
	hint string
}

func (e *setupError) Error() string { return e.text }
func (e *setupError) Unwrap() error { return e.err }
func (e *setupError) Hint() string  { return e.hint }

// takenError says that a bucket is somebody else's.
type takenError struct{ err error }

func (e *takenError) Error() string {
	return "it is somebody else's, or these credentials may not see it"
}
func (e *takenError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *takenError) Hint() string {
	return "choose another name: those of buckets are taken by all the world; if it is yours, allow s3:ListBucket on it"
}

// otherError says that something is qsync's, for another bucket or purpose.
type otherError struct{ is, wanted string }

func (e *otherError) Error() string {
	return fmt.Sprintf("it is qsync's already, as %q and not as %q", e.is, e.wanted)
}

// Hint says what to do.
func (e *otherError) Hint() string {
	return "name another one in the configuration; --adopt takes this one away from what it was for"
}

// regionError says that a bucket is somewhere else.
type regionError struct{ region string }

func (e *regionError) Error() string { return "it is in region " + e.region }

// Hint says what to do.
func (e *regionError) Hint() string { return "write region: " + e.region + " into the configuration" }

// permissions are those whose name is not that of the call.
var permissions = map[string]string{
	"HeadBucket":                      "s3:ListBucket",
	"ListObjectsV2":                   "s3:ListBucket",
	"GetPublicAccessBlock":            "s3:GetBucketPublicAccessBlock",
	"PutPublicAccessBlock":            "s3:PutBucketPublicAccessBlock",
	"GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
	"PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
	"CreateDistributionWithTags":      "cloudfront:CreateDistribution and cloudfront:TagResource",
}

// explain says of the error of a call what can be done about it, without the
// headers and identifiers that the SDK wraps it in.
func explain(err error) error {
	answer, call := (smithy.APIError)(nil), (*smithy.OperationError)(nil)
	if hint := (interface{ Hint() string })(nil); errors.As(err, &hint) || !errors.As(err, &answer) || !errors.As(err, &call) {
		if none := (*cloudfront.CredentialsError)(nil); errors.As(err, &none) {
			return none
		}
		return err
	}
	e := &setupError{err: err, text: fmt.Sprintf("%s answers %s: %s", call.Service(), answer.ErrorCode(), answer.ErrorMessage())}
	permission := permissions[call.Operation()]
	if permission == "" {
		permission = map[string]string{"S3": "s3:", "CloudFront": "cloudfront:"}[call.Service()] + call.Operation()
	}
	switch answer.ErrorCode() {
	case "AccessDenied", "AccessDeniedException", "Forbidden", "AllAccessDisabled":
		e.hint = "allow " + permission + " to these credentials"
		if call.Operation() == "PutBucketPolicy" {
			e.hint += "; if they may, the block of public access of the whole account forbids the policy"
		}
	case "InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "UnrecognizedClientException":
		e.hint = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of this machine"
	case "RequestTimeTooSkewed", "RequestExpired":
		e.hint = "set the clock of this machine"
	case "NotImplemented":
		e.hint = "only Amazon has all that is needed; this store has not"
	case "CNAMEAlreadyExists":
		e.hint = "take the name out of the other distribution first, or choose another alias"
	case "InvalidViewerCertificate":
		e.hint = "the certificate must be valid for all host names that the distribution has"
	case "DistributionAlreadyExists":
		e.hint = "setup has made it before, and its comment was changed: write its identifier as distribution: into the configuration"
	case "PreconditionFailed", "InvalidIfMatchVersion":
		e.hint = "somebody has changed it meanwhile: run it again"
	}
	return e
}
