package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/qsync/qsync/manifest"
	"golang.org/x/mod/sumdb/note"
)

// Policy says whose signatures are enough. Its zero value trusts nobody.
//
// A threshold of n means n distinct Ed25519 keys: of the pinned ones for a
// `keys` note, of the pinned and the certified ones together for a head or a
// catalog. A key that signs twice, or stands under two names, counts once. A
// certified key counts only while the newest `keys` note lists it; a pinned
// key counts until the client takes it out of its pins.
type Policy struct {
	pinned    []key
	online    []key // the keys that certified lists
	certified *manifest.Keys
	threshold int
}

// key is one verifier key. Its public part, and not its name, is its identity.
type key struct {
	text     string // as pinned or listed
	public   string
	verifier note.Verifier
}

// NewPolicy pins verifier keys. The threshold says how many of them must have
// signed; 0 means 1.
func NewPolicy(verifierKeys []string, threshold int) (Policy, error) {
	p := Policy{threshold: max(threshold, 1)}
	for _, text := range verifierKeys {
		k, err := parseKey(text)
		if err != nil {
			return Policy{}, fmt.Errorf("trust: %w", err)
		}
		if slices.ContainsFunc(p.pinned, func(other key) bool { return other.public == k.public }) {
			return Policy{}, fmt.Errorf("trust: key %s stands twice", text)
		}
		p.pinned = append(p.pinned, k)
	}
	if threshold < 0 || len(p.pinned) < p.threshold {
		return Policy{}, fmt.Errorf("trust: %d signatures wanted of %d keys", threshold, len(p.pinned))
	}
	return p, nil
}

func parseKey(text string) (key, error) {
	if err := manifest.CheckVerifier(text); err != nil {
		return key{}, err
	}
	verifier, err := note.NewVerifier(text)
	if err != nil {
		return key{}, fmt.Errorf("verifier key %.80q: %w", text, err)
	}
	return key{text: text, public: strings.SplitN(text, "+", 3)[2], verifier: verifier}, nil
}

// Certify opens a `keys` note, which enough of the pinned keys must have
// signed, and returns the policy that also accepts the keys it lists. Keys that
// an earlier note certified are not carried over. The caller must pass the
// note's text to [Marks.Accept] before it uses the result: without that an old
// note brings a revoked key back.
//
// An expired note gives the parsed list together with an error of class
// [Expired], and a policy that trusts nobody.
func (p Policy) Certify(keysNote []byte, now time.Time) (Policy, *manifest.Keys, error) {
	const what = "keys"
	root := Policy{pinned: p.pinned, threshold: p.threshold}
	text, err := root.open(what, keysNote, manifest.MaxKeysSize)
	if err != nil {
		return Policy{}, nil, err
	}
	keys, err := manifest.ParseKeys(text)
	if err != nil {
		return Policy{}, nil, refuse(what, Malformed, "%w", err)
	}
	if err := checkExpiry(what, keys.Expires, now); err != nil {
		return Policy{}, keys, err
	}
	certified := root
	certified.certified = keys
	for _, text := range keys.Verifiers {
		k, err := parseKey(text)
		if err != nil {
			return Policy{}, nil, refuse(what, Malformed, "%w", err)
		}
		// A pinned key that is listed as well stays one key.
		if !slices.ContainsFunc(root.pinned, func(pin key) bool { return pin.text == k.text }) {
			certified.online = append(certified.online, k)
		}
	}
	return certified, keys, nil
}

// OpenHead returns the head that enough keys have signed for that channel. An
// expired one is returned together with an error of class [Expired], so that a
// publisher can renew its own.
func (p Policy) OpenHead(headNote []byte, channel string, now time.Time) (*manifest.Head, error) {
	what := "head " + channel
	text, err := p.open(what, headNote, manifest.MaxHeadSize)
	if err != nil {
		return nil, err
	}
	head, err := manifest.ParseHead(text)
	if err != nil {
		return nil, refuse(what, Malformed, "%w", err)
	}
	if head.Channel != channel {
		return nil, refuse(what, WrongSubject, "it is the head of channel %s", head.Channel)
	}
	return head, checkExpiry(what, head.Expires, now)
}

// OpenCatalog returns the catalog that enough keys have signed; under a
// certified policy it must be the same publisher's as the `keys` note. Expiry
// is as with [Policy.OpenHead].
func (p Policy) OpenCatalog(catalogNote []byte, now time.Time) (*manifest.Catalog, error) {
	const what = "catalog"
	text, err := p.open(what, catalogNote, manifest.MaxCatalogSize)
	if err != nil {
		return nil, err
	}
	catalog, err := manifest.ParseCatalog(text)
	if err != nil {
		return nil, refuse(what, Malformed, "%w", err)
	}
	if p.certified != nil && catalog.Publisher != p.certified.Publisher {
		return nil, refuse(what, WrongSubject, "it is the catalog of %s, and the keys are those of %s",
			catalog.Publisher, p.certified.Publisher)
	}
	return catalog, checkExpiry(what, catalog.Expires, now)
}

// open returns the text of a note that enough keys of the policy have signed.
func (p Policy) open(what string, signed []byte, limit int) ([]byte, error) {
	if len(signed) > limit {
		return nil, refuse(what, Malformed, "%w: %d bytes, at most %d", manifest.ErrLimit, len(signed), limit)
	}
	trusted := slices.Concat(p.pinned, p.online)
	verifiers := make([]note.Verifier, len(trusted))
	for i, k := range trusted {
		verifiers[i] = k.verifier
	}
	// Open drops the signatures of keys that it does not know and fails on a
	// wrong one of a key that it knows. It counts names, so count keys here.
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unverified):
		return nil, refuse(what, Signature, "signed by %s; trusted are %s", signatureNames(unverified.Note), keyNames(trusted))
	case err != nil:
		return nil, refuse(what, Signature, "%w", err)
	}
	signers := map[string]bool{}
	for _, sig := range n.Sigs {
		for _, k := range trusted {
			if k.verifier.Name() == sig.Name && k.verifier.KeyHash() == sig.Hash {
				signers[k.public] = true
			}
		}
	}
	if len(signers) < max(p.threshold, 1) {
		return nil, refuse(what, Threshold, "%d trusted keys signed it, %d must", len(signers), p.threshold)
	}
	return []byte(n.Text), nil
}

func checkExpiry(what string, expires, now time.Time) error {
	if now.Before(expires) {
		return nil
	}
	return refuse(what, Expired, "expired at %s, and it is %s; the source may be stale, or the clock wrong",
		manifest.FormatTime(expires), manifest.FormatTime(now))
}

func signatureNames(n *note.Note) string {
	var names []string
	for _, sig := range n.UnverifiedSigs {
		names = append(names, fmt.Sprintf("%.80q+%08x", sig.Name, sig.Hash))
		if len(names) == 4 {
			names = append(names, "…")
			break
		}
	}
	return strings.Join(names, ", ")
}

func keyTexts(keys []key) []string {
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = k.text
	}
	return texts
}

func keyNames(keys []key) string {
	if len(keys) == 0 {
		return "no keys"
	}
	var names []string
	for _, k := range keys {
		names = append(names, fmt.Sprintf("%s+%08x", k.verifier.Name(), k.verifier.KeyHash()))
	}
	return strings.Join(names, ", ")
}
