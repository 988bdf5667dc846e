package cloudfront

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
)

// apiError is a refusal of CloudFront, with what to do about it.
type apiError struct {
	err  error
	text string
	hint string
}

func (e *apiError) Error() string { return e.text }
func (e *apiError) Unwrap() error { return e.err }
func (e *apiError) Hint() string  { return e.hint }

// explain says of the error of a request what can be done about it. What the SDK
// wraps around the words of CloudFront, headers and the name of the machine among
// it, helps nobody.
func explain(err error) error {
	answer, refused := errors.AsType[smithy.APIError](err)
	if !refused {
		return err
	}
	e := &apiError{err: err, text: fmt.Sprintf("CloudFront answers %s: %s", answer.ErrorCode(), answer.ErrorMessage())}
	operation := (*smithy.OperationError)(nil)
	switch code := answer.ErrorCode(); code {
	case "AccessDenied", "AccessDeniedException":
		if errors.As(err, &operation) {
			e.hint = fmt.Sprintf("allow cloudfront:%s on the distribution to the agent's user or role; qsyncd setup aws prints all that the agent needs", operation.Operation())
		}
	case "NoSuchDistribution":
		e.hint = "correct distribution: in the configuration, or the account that the credentials are of"
	case "TooManyInvalidationsInProgress":
		e.hint = "something else orders many invalidations of this distribution"
	case "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "UnrecognizedClientException", "IncompleteSignature":
		e.hint = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of this machine"
	case "RequestExpired", "RequestTimeTooSkewed":
		e.hint = "set the clock of this machine"
	}
	if e.hint == "" {
		return errors.New(e.text)
	}
	return e
}
