package trust

import (
	"errors"
	"fmt"
)

// ErrUntrusted is wrapped by every refusal of this package: by all errors of
// the Open functions, of [Policy.Certify] and of [Marks].
var ErrUntrusted = errors.New("not trusted")

// Class says why something is not trusted.
type Class string

// The classes of refusal.
const (
	Signature    Class = "signature"     // no trusted key signed it, or a signature is wrong
	Threshold    Class = "threshold"     // too few trusted keys signed it
	Malformed    Class = "malformed"     // rightly signed perhaps, but not a text that this program reads
	WrongSubject Class = "wrong-subject" // rightly signed, but about another channel or publisher
	Expired      Class = "expired"       // rightly signed, but no longer to be believed
	Rollback     Class = "rollback"      // older than what was seen before
	Equivocation Class = "equivocation"  // signed differently under a sequence that was seen before
	State        Class = "state"         // what was seen before cannot be read or stored
)

// Error is a refusal: what was not trusted, and why.
type Error struct {
	What  string // "head polkadot-rocksdb-archive", "catalog", "keys"
	Class Class
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.What, ErrUntrusted, e.Err) }

// Unwrap makes both [ErrUntrusted] and the cause known to errors.Is.
func (e *Error) Unwrap() []error { return []error{ErrUntrusted, e.Err} }

func refuse(what string, class Class, format string, args ...any) error {
	return &Error{What: what, Class: class, Err: fmt.Errorf(format, args...)}
}
