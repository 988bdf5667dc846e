package node

import "errors"

// hinted is an error that says what to do about it.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

// Hint is what to do.
func (e *hinted) Hint() string { return e.hint }

// withHint adds what to do, unless the error says it already: who was nearer to
// the failure knows more.
func withHint(err error, hint string) error {
	if h := (*hinted)(nil); errors.As(err, &h) {
		return err
	}
	return &hinted{err, hint}
}
