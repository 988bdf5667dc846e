package trust

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest"
	"golang.org/x/mod/sumdb/note"
)

var (
	now    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	later  = now.Add(7 * 24 * time.Hour)
	subtle = []byte("a text that nobody signed\n")
)

// signer is a key of a test: what signs, and what a client pins.
type signer struct {
	note.Signer
	vkey string
}

func newSigner(t testing.TB, name string) signer {
	t.Helper()
	skey, vkey, err := GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return signer{s, vkey}
}

type marshaler interface{ Marshal() ([]byte, error) }

func sign(t testing.TB, m marshaler, signers ...signer) []byte {
	t.Helper()
	text, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	plain := make([]note.Signer, len(signers))
	for i, s := range signers {
		plain[i] = s.Signer
	}
	signed, err := Sign(text, plain...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func newPolicy(t testing.TB, threshold int, signers ...signer) Policy {
	t.Helper()
	var vkeys []string
	for _, s := range signers {
		vkeys = append(vkeys, s.vkey)
	}
	p, err := NewPolicy(vkeys, threshold)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newHead(sequence int64) *manifest.Head {
	return &manifest.Head{Channel: "polkadot-rocksdb-archive", Sequence: sequence, Expires: later, Snapshots: []manifest.Snapshot{
		{Version: "20261122-040003", Manifest: manifest.Sum(fmt.Append(nil, sequence)), Size: 2841},
	}}
}

func newCatalog(publisher string) *manifest.Catalog {
	return &manifest.Catalog{Publisher: publisher, Sequence: 1, Expires: later, Channels: []manifest.CatalogChannel{
		{Chain: "polkadot", Channel: "polkadot-rocksdb-archive"},
	}}
}

// newKeys lists keys, which must be given in ascending order.
func newKeys(sequence int64, signers ...signer) *manifest.Keys {
	k := &manifest.Keys{Publisher: "snapshots.example.org", Sequence: sequence, Expires: later}
	for _, s := range signers {
		k.Verifiers = append(k.Verifiers, s.vkey)
	}
	return k
}

// want checks the class of a refusal; "" is none.
func want(t testing.TB, err error, class Class) {
	t.Helper()
	var e *Error
	switch {
	case class == "" && err != nil:
		t.Errorf("refused: %v", err)
	case class != "" && !errors.As(err, &e):
		t.Errorf("got %v, want class %s", err, class)
	case class != "" && (e.Class != class || !errors.Is(err, ErrUntrusted)):
		t.Errorf("got class %s (%v), want %s", e.Class, err, class)
	}
}

func TestOpenHead(t *testing.T) {
	a, b, c := newSigner(t, "a.example.org"), newSigner(t, "b.example.org"), newSigner(t, "c.example.org")
	head := newHead(5)
	channel := head.Channel
	signed := sign(t, head, a)
	forged := append(append([]byte{}, signed...), lastLine(sign(t, newHead(6), b))...)

	tests := []struct {
		name    string
		policy  Policy
		note    []byte
		channel string
		now     time.Time
		class   Class
	}{
		{"one key", newPolicy(t, 0, a), signed, channel, now, ""},
		{"one of two keys", newPolicy(t, 1, a, b), signed, channel, now, ""},
		{"another key", newPolicy(t, 1, b), signed, channel, now, Signature},
		{"no policy", Policy{}, signed, channel, now, Signature},
		{"one of two that must", newPolicy(t, 2, a, b), signed, channel, now, Threshold},
		{"two of two", newPolicy(t, 2, a, b), sign(t, head, a, b), channel, now, ""},
		{"one twice", newPolicy(t, 2, a, b), append(signed, lastLine(signed)...), channel, now, Threshold},
		{"one and a stranger", newPolicy(t, 2, a, b), sign(t, head, a, c), channel, now, Threshold},
		{"one good, one wrong", newPolicy(t, 1, a, b), forged, channel, now, Signature},
		{"a wrong one of a stranger", newPolicy(t, 1, a), forged, channel, now, ""},
		{"other channel", newPolicy(t, 1, a), signed, "kusama-rocksdb-archive", now, WrongSubject},
		{"last second", newPolicy(t, 1, a), signed, channel, later.Add(-time.Second), ""},
		{"expired", newPolicy(t, 1, a), signed, channel, later, Expired},
		{"a catalog", newPolicy(t, 1, a), sign(t, newCatalog("x"), a), channel, now, Malformed},
		{"no signature", newPolicy(t, 1, a), subtle, channel, now, Signature},
		{"over the limit", newPolicy(t, 1, a), make([]byte, manifest.MaxHeadSize+1), channel, now, Malformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.policy.OpenHead(test.note, test.channel, test.now)
			want(t, err, test.class)
			if trusted := test.class == "" || test.class == Expired; trusted != (got != nil) {
				t.Errorf("got %v with class %q", got, test.class)
			}
		})
	}
}

func lastLine(b []byte) string {
	s := strings.TrimSuffix(string(b), "\n")
	return s[strings.LastIndexByte(s, '\n')+1:] + "\n"
}

// Every flipped bit of the signed text and of the signature must be noticed.
func TestOpenHeadFlippedBits(t *testing.T) {
	a := newSigner(t, "a.example.org")
	policy, signed := newPolicy(t, 1, a), sign(t, newHead(5), a)
	text, _ := newHead(5).Marshal()
	for i := range len(text) * 8 {
		flipped := append([]byte{}, signed...)
		flipped[i/8] ^= 1 << (i % 8)
		if head, err := policy.OpenHead(flipped, "polkadot-rocksdb-archive", now); err == nil {
			t.Fatalf("bit %d flipped: accepted %+v", i, head)
		}
	}
}

func TestPolicyCountsKeysNotNames(t *testing.T) {
	skey, vkey, err := GenerateKey("a.example.org")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := VerifierOf(skey); got != vkey {
		t.Fatalf("VerifierOf gives %s, %v, want %s", got, err, vkey)
	}
	a, alias := named(t, skey, "a.example.org"), named(t, skey, "b.example.org")
	if _, err := NewPolicy([]string{a.vkey, alias.vkey}, 2); err == nil {
		t.Error("one key under two names was pinned as two")
	}
	// The same by way of a list of keys.
	other := newSigner(t, "c.example.org")
	root := newPolicy(t, 2, a, other)
	certified, _, err := root.Certify(sign(t, newKeys(1, alias), a, other), now)
	want(t, err, "")
	_, err = certified.OpenHead(sign(t, newHead(1), a, alias), "polkadot-rocksdb-archive", now)
	want(t, err, Threshold)
}

// named gives the secret of skey another name.
func named(t testing.TB, skey, name string) signer {
	t.Helper()
	private, err := privateKey(skey)
	if err != nil {
		t.Fatal(err)
	}
	vkey, err := note.NewEd25519VerifierKey(name, private.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	hash := strings.SplitN(vkey, "+", 3)[1]
	seed := append([]byte{1}, private.Seed()...)
	s, err := NewSigner("PRIVATE+KEY+" + name + "+" + hash + "+" + base64.StdEncoding.EncodeToString(seed))
	if err != nil {
		t.Fatal(err)
	}
	return signer{s, vkey}
}

func TestCertify(t *testing.T) {
	root, backup := newSigner(t, "root.example.org"), newSigner(t, "backup.example.org")
	x, y := newSigner(t, "x.example.org"), newSigner(t, "y.example.org")
	pins := newPolicy(t, 1, root)
	channel := newHead(1).Channel

	certified, keys, err := pins.Certify(sign(t, newKeys(1, x, y), root), now)
	want(t, err, "")
	if keys == nil || keys.Sequence != 1 {
		t.Fatalf("got %+v", keys)
	}
	open := func(p Policy, class Class, signers ...signer) {
		t.Helper()
		_, err := p.OpenHead(sign(t, newHead(1), signers...), channel, now)
		want(t, err, class)
	}
	open(pins, Signature, x)
	open(certified, "", x)
	open(certified, "", y)
	open(certified, "", root)

	// y is revoked, also when the policy that certified it is at hand.
	renewed, _, err := certified.Certify(sign(t, newKeys(2, x), root), now)
	want(t, err, "")
	open(renewed, "", x)
	open(renewed, Signature, y)

	// A certified key certifies nobody.
	_, _, err = certified.Certify(sign(t, newKeys(3, y), x), now)
	want(t, err, Signature)

	none, keys, err := pins.Certify(sign(t, newKeys(1, x), root), later)
	want(t, err, Expired)
	if keys == nil {
		t.Error("the expired list was not returned")
	}
	open(none, Signature, root)

	// The threshold is over the pinned keys for the list, over all for a head.
	both := newPolicy(t, 2, root, backup)
	_, _, err = both.Certify(sign(t, newKeys(1, x, y), root), now)
	want(t, err, Threshold)
	certified, _, err = both.Certify(sign(t, newKeys(1, x, y), root, backup), now)
	want(t, err, "")
	open(certified, Threshold, x)
	open(certified, "", x, y)
	open(certified, "", x, root)

	_, err = certified.OpenCatalog(sign(t, newCatalog("snapshots.example.org"), x, y), now)
	want(t, err, "")
	_, err = certified.OpenCatalog(sign(t, newCatalog("other.example.org"), x, y), now)
	want(t, err, WrongSubject)
	_, err = certified.OpenCatalog(sign(t, newHead(1), x, y), now)
	want(t, err, Malformed)
}

func TestNewPolicyRefuses(t *testing.T) {
	a := newSigner(t, "a.example.org").vkey
	for _, test := range []struct {
		name      string
		keys      []string
		threshold int
	}{
		{"no key", nil, 0},
		{"no line", []string{""}, 0},
		{"twice", []string{a, a}, 1},
		{"more than there are", []string{a}, 2},
		{"negative", []string{a}, -1},
		{"hash in capitals", []string{strings.Replace(a, strings.Split(a, "+")[1], "ABCDEF01", 1)}, 1},
		{"other name", []string{"b" + a}, 1},
		{"line end", []string{a + "\n"}, 1},
	} {
		if _, err := NewPolicy(test.keys, test.threshold); err == nil {
			t.Errorf("%s: accepted", test.name)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	a := newSigner(t, "a.example.org")
	text, _ := newHead(1).Marshal()
	if _, err := Sign(text); err == nil {
		t.Error("signed by nobody")
	}
	for _, text := range []string{"", "\n", "anything\n", "qsync head v1\n", string(text) + "\n", string(text[:len(text)-1])} {
		if _, err := Sign([]byte(text), a.Signer); err == nil {
			t.Errorf("signed %q", text)
		}
	}
}

func TestSignerKeyErrorsShowNoSecret(t *testing.T) {
	skey, _, err := GenerateKey("a.example.org")
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.SplitN(skey, "+", 5)[4]
	for _, broken := range []string{skey + "x", skey[:len(skey)-1], strings.Replace(skey, "PRIVATE", "private", 1)} {
		for _, err := range []error{second(NewSigner(broken)), second(VerifierOf(broken))} {
			if err == nil || strings.Contains(err.Error(), secret[:16]) {
				t.Errorf("%v", err)
			}
		}
	}
	if _, err := VerifierOf(skey + "\n"); err != nil {
		t.Errorf("a key file's line end: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzOpenHead(f *testing.F) {
	var ours string // the one head that the vectors' online key has signed for the channel
	var pinned []string
	for _, v := range readVectors(f) {
		f.Add([]byte(v.Note))
		if v.Name == "good" {
			ours, _, _ = strings.Cut(v.Note, "\n\n")
			pinned = v.Pinned
		}
	}
	policy, err := NewPolicy(pinned, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		head, err := policy.OpenHead(b, "polkadot-rocksdb-archive", now)
		if err != nil {
			if !errors.Is(err, ErrUntrusted) {
				t.Fatalf("%v is not ErrUntrusted", err)
			}
			return
		}
		if text, err := head.Marshal(); err != nil || string(text) != ours+"\n" || len(b) > manifest.MaxHeadSize {
			t.Fatalf("accepted %q: %v", b, err)
		}
	})
}

func TestKeyID(t *testing.T) {
	key := newSigner(t, "a.example.org")
	id, _, _ := strings.Cut(key.vkey[len("a.example.org+"):], "+")
	if got, want := KeyID(key.vkey), "a.example.org+"+id; got != want || len(id) != 8 {
		t.Errorf("%s, want %s", got, want)
	}
	if got := KeyID("no key"); got != "no key" {
		t.Errorf("of what is no key: %q", got)
	}
}
