package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/qsync/qsync/publish"
)

// explain says of the error of a request what can be done about it.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cancelled := ctx.Err(); cancelled != nil {
		if errors.Is(err, cancelled) {
			return err
		}
		return fmt.Errorf("%w: %w", cancelled, err)
	}
	answer, answered := answerOf(err)
	if !answered {
		return err
	}
	switch answer.Code {
	case "NoSuchKey":
		return fmt.Errorf("%w: %w", publish.ErrNotFound, err)
	case "NoSuchBucket":
		return fmt.Errorf("no such bucket: create it, or correct its name, region or endpoint: %w", err)
	case "InvalidAccessKeyId", "XAdminUserNotFound", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired":
		return fmt.Errorf("the store refuses the credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "+
			"AWS_PROFILE, or the role of this machine: %w", err)
	case "AccessDenied":
		return fmt.Errorf("the credentials lack a permission: allow s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, "+
			"s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts on its objects: %w", err)
	case "RequestTimeTooSkewed":
		return fmt.Errorf("set the clock of this machine: %w", err)
	case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		if answer.Region != "" {
			return fmt.Errorf("the region of the bucket is %s: %w", answer.Region, err)
		}
		return fmt.Errorf("correct the region of the bucket: %w", err)
	}
	if answer.StatusCode == http.StatusNotImplemented {
		return fmt.Errorf("the store lacks what qsync needs of S3: %w", err)
	}
	return err
}

// refusedCondition reports whether the store has not written because an object
// is not, or is, what the request said.
func refusedCondition(err error) bool {
	answer, answered := answerOf(err)
	return answered && (answer.StatusCode == http.StatusPreconditionFailed || answer.Code == "PreconditionFailed")
}
