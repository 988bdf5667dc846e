package term

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/snapshot/chain"
)

// The exit codes of both programs.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitNotFound    = 10
	ExitInUse       = 11
	ExitUntrusted   = 12
	ExitNoSpace     = 13
	ExitNoSource    = 14
	ExitConsent     = 15
	ExitInterrupted = 130
)

// ExitCodes is the part of a command's help that lists them.
const ExitCodes = `Exit codes:
    0  done
    1  error
    2  wrong usage
   10  no such channel or version
   11  target in use or locked
   12  not trusted: signature, rollback, expiry, wrong chain or block
   13  not enough space
   14  no source could serve, or no node confirm; run again to resume
   15  consent needed
  130  interrupted; run again to resume`

// UsageError is a command line that makes no sense.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a [UsageError].
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// errInterrupted says that a signal came. A cancelled context alone does not:
// one that fails cancels those that work beside it.
var errInterrupted = errors.New("interrupted")

var codes = []struct {
	err  error
	code int
}{
	{errInterrupted, ExitInterrupted}, // first: it may have failed in other ways for that reason
	{trust.ErrUntrusted, ExitUntrusted},
	{fetcher.ErrConsent, ExitConsent},
	{fetcher.ErrInUse, ExitInUse},
	{publish.ErrInUse, ExitInUse},
	{fetcher.ErrNoSpace, ExitNoSpace},
	{syscall.ENOSPC, ExitNoSpace},
	{syscall.EDQUOT, ExitNoSpace},
	{fetcher.ErrNoSource, ExitNoSource},
	{chain.ErrUnconfirmed, ExitNoSource},
	{fetcher.ErrNotFound, ExitNotFound},
	{publish.ErrNotFound, ExitNotFound},
}

// ExitCode is the code of the first class that err belongs to.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if usage := (*UsageError)(nil); errors.As(err, &usage) {
		return ExitUsage
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return ExitError
}
