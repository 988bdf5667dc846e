package manifest

import (
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// CheckVerifier reports whether v is a verifier key in its one form,
// name+hash+key as golang.org/x/mod/sumdb/note writes it: the hash in
// lower-case hex, the key an Ed25519 one in canonical base64. The name is plain
// ASCII without space and plus.
func CheckVerifier(v string) error {
	if err := checkVerifier(v); err != nil {
		return fmt.Errorf("%w: verifier key %.120q: %w", ErrMalformed, v, err)
	}
	return nil
}

func checkVerifier(v string) error {
	verifier, err := note.NewVerifier(v)
	if err != nil {
		return err
	}
	name := verifier.Name()
	if len(name) > MaxKeyName || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return fmt.Errorf("its name is not at most %d plain characters", MaxKeyName)
	}
	key, err := base64.StdEncoding.DecodeString(strings.SplitN(v, "+", 3)[2]) // base64 has pluses too
	if err != nil {
		return err
	}
	// note.NewVerifier reads more forms than it writes.
	if again, err := note.NewEd25519VerifierKey(name, key[1:]); err != nil || again != v {
		return fmt.Errorf("not in its one form")
	}
	return nil
}
