package term

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/snapshot"
)

type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }
func (e *hinted) Hint() string  { return e.hint }

// WithHint adds what to do about it to an error.
func WithHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

var trustHints = map[trust.Class]string{
	trust.Signature:    "compare the verifier key with the one that the publisher shows elsewhere",
	trust.Threshold:    "fewer of the trusted keys have signed than asked for; compare the keys with the publisher's",
	trust.Expired:      "the mirror may be stale, or this machine's clock wrong; try another source",
	trust.Rollback:     "the mirror serves an older state than this machine has seen; try another source",
	trust.Equivocation: "the publisher's key has signed two different states; ask the publisher before trusting either",
	trust.Malformed:    "what the mirror serves is broken, or needs a newer qsync; try another source",
	trust.State:        "the high-water marks are in $XDG_STATE_HOME/qsync, or where state: in the configuration says",
	trust.WrongSubject: "the mirror answers with another object than asked for; try another source",
}

var codeHints = map[int]string{
	ExitUsage:       "run the command with --help",
	ExitNotFound:    "qsync list shows the channels and their versions",
	ExitInUse:       "stop the node, or wait for the other run to end",
	ExitNoSpace:     "make room and run the same command again: it goes on where it stopped",
	ExitNoSource:    "run the same command again: it goes on where it stopped",
	ExitConsent:     "add --yes to agree",
	ExitInterrupted: "run the same command again: it goes on where it stopped",
}

// Hint is what to do about an error: what it says itself, or what its class
// suggests.
func Hint(err error) string {
	if h := (interface{ Hint() string })(nil); errors.As(err, &h) {
		return h.Hint()
	}
	if e := (*snapshot.RefusedError)(nil); errors.As(err, &e) {
		return e.Hint
	}
	if e := (*trust.Error)(nil); errors.As(err, &e) {
		return trustHints[e.Class]
	}
	if errors.Is(err, publish.ErrConflict) {
		return "another agent published meanwhile; run it again to publish on top of that"
	}
	if errors.Is(err, fs.ErrPermission) {
		return "run it as the user that owns the directory"
	}
	return codeHints[ExitCode(err)]
}
