// Package amazon says in words for people what a service of AWS has answered.
package amazon

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
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
// be done about it. permission is the prefix of the service's actions in policies. What
// the SDK wraps around the words of the service helps nobody.
func Explain(service, permission string, err error) error {
	answer, refused := errors.AsType[smithy.APIError](err)
	if !refused {
		return err
	}
	e := &refusal{err: err, text: fmt.Sprintf("%s answers %s: %s", service, answer.ErrorCode(), answer.ErrorMessage())}
	switch operation := (*smithy.OperationError)(nil); answer.ErrorCode() {
	case "AccessDenied", "AccessDeniedException":
		if errors.As(err, &operation) {
			e.hint = fmt.Sprintf("allow %s:%s to the agent's user or role", permission, operation.Operation())
		}
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

// ReadBodies is an HTTP client whose requests have bodies that can be read and nothing
// else.
//
// The SDK closes a body as soon as the answer begins, and what it then answers to
// WriteTo is io.EOF. net/http, which looks whether more follows than was announced,
// takes that for a failure and closes the connection, with the answer on it. From Read
// the same io.EOF says what it should.
type ReadBodies struct{ aws.HTTPClient }

// Do implements [aws.HTTPClient].
func (c ReadBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.HTTPClient.Do(r)
}
