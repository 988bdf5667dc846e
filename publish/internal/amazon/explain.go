// Package amazon is what the clients of AWS's services have in common.
package amazon

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
)

// refusal is an answer of a service, with what to do about it.
type refusal struct {
	err  error
	text string
	hint string
}

func (e *refusal) Error() string { return e.text }
func (e *refusal) Unwrap() error { return e.err }
func (e *refusal) Hint() string  { return e.hint }

// Explain says of the error of a request what the service has answered, and what can
// be done about it. What the SDK wraps around the service's words, headers and the name
// of the machine among it, helps nobody. A request that is not allowed needs a right: the
// service's name in policies is prefix, and whereTo says what else is to be known of
// it. hints are for other codes.
func Explain(err error, service, prefix, whereTo string, hints map[string]string) error {
	answer, refused := errors.AsType[smithy.APIError](err)
	if !refused {
		return err
	}
	e := &refusal{err: err, text: fmt.Sprintf("%s answers %s: %s", service, answer.ErrorCode(), answer.ErrorMessage())}
	switch operation := (*smithy.OperationError)(nil); answer.ErrorCode() {
	case "AccessDenied", "AccessDeniedException":
		if errors.As(err, &operation) {
			e.hint = fmt.Sprintf("allow %s:%s %s", prefix, operation.Operation(), whereTo)
		}
	case "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "UnrecognizedClientException", "IncompleteSignature":
		e.hint = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of this machine"
	case "RequestExpired", "RequestTimeTooSkewed":
		e.hint = "set the clock of this machine"
	default:
		e.hint = hints[answer.ErrorCode()]
	}
	if e.hint == "" {
		return errors.New(e.text)
	}
	return e
}
