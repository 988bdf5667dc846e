package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/qsync/qsync/manifest"
	"golang.org/x/mod/sumdb/note"
)

// GenerateKey makes an Ed25519 key. The signer key is the secret; the verifier
// key is what clients pin. Both are one line without a line end, in the form of
// golang.org/x/mod/sumdb/note.
func GenerateKey(name string) (signerKey, verifierKey string, err error) {
	signerKey, verifierKey, err = note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", "", fmt.Errorf("generate the key %.80q: %w", name, err)
	}
	if err := manifest.CheckVerifier(verifierKey); err != nil {
		return "", "", fmt.Errorf("generate the key %.80q: %w", name, err)
	}
	return signerKey, verifierKey, nil
}

var errSignerKey = errors.New("not a signer key: want the one line PRIVATE+KEY+name+hash+key that `qsyncd keys generate` wrote")

// NewSigner reads a signer key; space around it, such as a file's last line
// end, does not matter. No error shows any of it.
func NewSigner(signerKey string) (note.Signer, error) {
	signer, err := note.NewSigner(strings.TrimSpace(signerKey))
	if err != nil {
		return nil, errSignerKey
	}
	return signer, nil
}

// VerifierOf returns the verifier key that belongs to a signer key.
func VerifierOf(signerKey string) (verifierKey string, err error) {
	signer, err := NewSigner(signerKey)
	if err != nil {
		return "", err
	}
	private, err := privateKey(signerKey)
	if err != nil {
		return "", err
	}
	return note.NewEd25519VerifierKey(signer.Name(), private.Public().(ed25519.PublicKey))
}

// KeyID is the name and the hash of a verifier key, name+hash, by which people
// tell keys apart. It identifies no key: a hash of 32 bits can be forged.
func KeyID(verifierKey string) string {
	fields := strings.SplitN(verifierKey, "+", 3)
	return strings.Join(fields[:min(2, len(fields))], "+")
}

func privateKey(signerKey string) (ed25519.PrivateKey, error) {
	fields := strings.SplitN(strings.TrimSpace(signerKey), "+", 5) // base64 has pluses too
	key, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(key) != 1+ed25519.SeedSize {
		return nil, errSignerKey
	}
	return ed25519.NewKeyFromSeed(key[1:]), nil
}

// Sign returns the note that carries text, which must be the Marshal of a
// head, catalog or list of keys, and the signatures.
func Sign(text []byte, signers ...note.Signer) ([]byte, error) {
	if err := manifest.CheckNoteText(text); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if len(signers) == 0 {
		return nil, errors.New("sign: no signer")
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, signers...)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", signers[0].Name(), err)
	}
	return signed, nil
}
