package publish_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/targettest"
)

// testKey is a key that a test signs with.
type testKey struct {
	signer   note.Signer
	verifier string
}

func newKey(t *testing.T, name string) testKey {
	t.Helper()
	secret, verifier, err := trust.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := trust.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{signer, verifier}
}

func policyOf(t *testing.T, keys ...testKey) trust.Policy {
	t.Helper()
	verifiers := make([]string, len(keys))
	for i, k := range keys {
		verifiers[i] = k.verifier
	}
	policy, err := trust.NewPolicy(verifiers, 1)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

// keyStage is a stage whose publisher has an old key, a new one and a root.
type keyStage struct {
	*targettest.Stage
	old, next, root testKey
	targets         []publish.Target
}

func newKeyStage(t *testing.T, targets ...publish.Target) *keyStage {
	t.Helper()
	s := &keyStage{
		Stage: targettest.NewStage(t, targets...), targets: targets,
		old: newKey(t, "old.example.org"), next: newKey(t, "next.example.org"), root: newKey(t, "root.example.org"),
	}
	s.Publisher = s.signing(t, s.Publisher, s.old)
	return s
}

// signing is the publisher with these keys, of which it trusts the first only.
func (s *keyStage) signing(t *testing.T, p *publish.Publisher, keys ...testKey) *publish.Publisher {
	by := *p
	by.Policy, by.Signers = policyOf(t, keys[0]), nil
	for _, k := range keys {
		by.Signers = append(by.Signers, k.signer)
	}
	return &by
}

func (s *keyStage) certify(ctx context.Context, t *testing.T, p *publish.Publisher, keys ...testKey) (*manifest.Keys, error) {
	root := publish.Root{Signers: []note.Signer{s.root.signer}, Policy: policyOf(t, s.root), TTL: time.Hour}
	return p.Certify(ctx, root, func(*manifest.Keys) (list []string, err error) {
		for _, k := range keys {
			list = append(list, k.verifier)
		}
		return list, nil
	})
}

// adopt makes the new key's what only the old one has signed.
func (s *keyStage) adopt(ctx context.Context, t *testing.T, p *publish.Publisher) (channels []string, err error) {
	former := policyOf(t, s.old, s.next)
	channels, err = p.Unadopted(ctx, former, nil)
	if err != nil {
		return nil, err
	}
	return channels, p.Adopt(ctx, former, channels)
}

// wantBelieved checks that a stranger who pins the root believes what each
// target holds, under the newest list of keys of all.
func (s *keyStage) wantBelieved(t *testing.T) {
	t.Helper()
	var policy trust.Policy
	var newest int64
	for _, target := range s.targets {
		signed, _, err := target.Load(context.Background(), manifest.KeysKey)
		if errors.Is(err, publish.ErrNotFound) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		certified, keys, err := policyOf(t, s.root).Certify(signed, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if keys.Sequence > newest {
			newest, policy = keys.Sequence, certified
		}
	}
	s.wantOpen(t, policy)
}

// wantOpen checks that the policy opens the head and the catalog of each target.
func (s *keyStage) wantOpen(t *testing.T, policy trust.Policy) {
	t.Helper()
	for _, target := range s.targets {
		head, _, err := target.Load(context.Background(), manifest.HeadKey(targettest.Channel))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.OpenHead(head, targettest.Channel, time.Now()); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		catalog, _, err := target.Load(context.Background(), manifest.CatalogKey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.OpenCatalog(catalog, time.Now()); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func newTargets(t *testing.T, n int) []publish.Target {
	targets := make([]publish.Target, n)
	for i := range targets {
		targets[i], _ = newDir(t)
	}
	return targets
}

// TestRotateFaults: whatever operation fails while a key is replaced, those who
// pin the root believe what is there, and the same again finishes it.
func TestRotateFaults(t *testing.T) {
	for name, manner := range map[string]struct{ applied, lasting bool }{
		"Refused": {}, "Applied": {applied: true}, "KilledBefore": {lasting: true}, "KilledAfter": {applied: true, lasting: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				s := newKeyStage(t, newTargets(t, 2)...)
				mustPublish(t, s.Stage, 0)
				if _, err := s.certify(t.Context(), t, s.Publisher, s.old); err != nil {
					t.Fatal(err)
				}
				rotate := func(p *publish.Publisher) error {
					if _, err := s.certify(t.Context(), t, p, s.next, s.old); err != nil {
						return err
					}
					_, err := s.adopt(t.Context(), t, p)
					return err
				}
				f := &targettest.Fault{At: at, Applied: manner.applied, Lasting: manner.lasting}
				if err := rotate(s.signing(t, s.Through(f), s.next, s.old)); err != nil && f.Hit() == "" {
					t.Fatalf("without a fault: %v", err)
				}
				s.wantBelieved(t)
				if err := rotate(s.signing(t, s.Publisher, s.next, s.old)); err != nil {
					t.Fatalf("%s: again: %v", f, err)
				}
				s.wantBelieved(t)
				s.wantOpen(t, policyOf(t, s.next))
				s.wantOpen(t, policyOf(t, s.old)) // who pins it directly is not cut off at once
				s.WantPublished(0)
				if t.Failed() {
					t.Fatal(f)
				}
				if f.Hit() == "" {
					if at < 10 {
						t.Fatalf("only %d operations were seen", at-1)
					}
					return
				}
			}
		})
	}
}

// TestRevoke: an agent that had begun before the rotation has signed a head with
// the old key alone. It is signed again before that key is revoked.
func TestRevoke(t *testing.T) {
	s := newKeyStage(t, newTargets(t, 2)...)
	mustPublish(t, s.Stage, 0)
	if _, err := s.certify(t.Context(), t, s.Publisher, s.old, s.next); err != nil {
		t.Fatal(err)
	}
	by := s.signing(t, s.Publisher, s.next)
	channels, err := s.adopt(t.Context(), t, by)
	if want := []string{targettest.Channel}; err != nil || !slices.Equal(channels, want) {
		t.Fatalf("adopted %s, %v; want %s", channels, err, want)
	}
	if channels, err = s.adopt(t.Context(), t, by); err != nil || len(channels) > 0 {
		t.Fatalf("adopted %s again, %v", channels, err)
	}
	keys, err := s.certify(t.Context(), t, by, s.next)
	if err != nil || keys.Sequence != 2 || !slices.Equal(keys.Verifiers, []string{s.next.verifier}) {
		t.Fatalf("certified %+v, %v", keys, err)
	}
	s.wantBelieved(t)
	lists, err := by.Keys(t.Context(), policyOf(t, s.root))
	if err != nil || len(lists) != 2 || lists[1].Sequence != 2 {
		t.Fatalf("lists %+v, %v", lists, err)
	}
}

// TestUnadoptedForged: a head that a thief of the old key has signed is not signed
// again with the new one.
func TestUnadoptedForged(t *testing.T) {
	target, _ := newDir(t)
	s := newKeyStage(t, target)
	mustPublish(t, s.Stage, 0)
	thief := s.signing(t, s.Publisher, s.old)
	thief.StateDir = t.TempDir()
	if _, err := s.Publish(t.Context(), thief, 1); err != nil {
		t.Fatal(err)
	}
	_, err := s.signing(t, s.Publisher, s.next).Unadopted(t.Context(), policyOf(t, s.old, s.next), nil)
	wantError(t, err, "sequence 2", "none above 1", "stolen")
}

// TestCertifyRefuses: the list of somebody else is not replaced.
func TestCertifyRefuses(t *testing.T) {
	target, base := newDir(t)
	s := newKeyStage(t, target)
	if _, err := s.certify(t.Context(), t, s.Publisher, s.old); err != nil {
		t.Fatal(err)
	}
	other := *s.Publisher
	other.Name = "other.example.org"
	_, err := s.certify(t.Context(), t, &other, s.old)
	wantError(t, err, "publisher.example.org", "other.example.org")

	before := fmt.Sprint(s.Keys(t))
	strange := *s
	strange.root = newKey(t, "root.example.org")
	_, err = strange.certify(t.Context(), t, s.Publisher, s.old)
	wantError(t, err, "keys on "+base, "not ours")
	if _, err := s.certify(t.Context(), t, s.Publisher); err == nil {
		t.Error("an empty list was certified")
	}
	if after := fmt.Sprint(s.Keys(t)); after != before {
		t.Errorf("%s became %s", before, after)
	}
}

// Keys are what the first target's list holds.
func (s *keyStage) Keys(t *testing.T) []string {
	t.Helper()
	lists, err := s.Publisher.Keys(t.Context(), policyOf(t, s.root))
	if err != nil {
		t.Fatal(err)
	}
	return lists[0].Verifiers
}

// TestCertifyNewTarget: a target that was added first in the list gets the list of
// the others, and nobody sees a sequence twice.
func TestCertifyNewTarget(t *testing.T) {
	targets := newTargets(t, 2)
	s := newKeyStage(t, targets[1])
	if _, err := s.certify(t.Context(), t, s.Publisher, s.old); err != nil {
		t.Fatal(err)
	}
	both := secondAgent(t, s.Stage)
	both.Targets = targets
	keys, err := s.certify(t.Context(), t, both, s.old, s.next)
	if err != nil || keys.Sequence != 2 {
		t.Fatalf("certified %+v, %v; want sequence 2", keys, err)
	}
	lists, err := both.Keys(t.Context(), policyOf(t, s.root))
	if err != nil || lists[0].Sequence != 2 || lists[1].Sequence != 2 {
		t.Errorf("lists %+v, %v", lists, err)
	}
}
