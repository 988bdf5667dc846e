package targettest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
)

// Channel and Chain are what a Stage publishes.
const (
	Channel = "testchain-files-full"
	Chain   = "testchain"
)

// Stage is a publisher with keys of its own over targets, and a stranger who
// looks at them.
type Stage struct {
	Publisher *publish.Publisher
	// Later is added to the time that the publisher reads.
	Later time.Duration

	t       *testing.T
	targets []publish.Target // as the stranger sees them
	sequences
}

// sequences is what the stranger remembers.
type sequences struct {
	notes  map[int64][]byte // sequence → head, of all targets
	latest map[publish.Target]int64
}

// NewStage returns a stage over the targets.
func NewStage(t *testing.T, targets ...publish.Target) *Stage {
	t.Helper()
	signerKey, verifierKey, err := trust.GenerateKey("publisher.example.org")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := trust.NewSigner(signerKey)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := trust.NewPolicy([]string{verifierKey}, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := &Stage{t: t, targets: targets, sequences: sequences{map[int64][]byte{}, map[publish.Target]int64{}}}
	s.Publisher = &publish.Publisher{
		Name:     "publisher.example.org",
		Targets:  targets,
		Signers:  []note.Signer{signer},
		Policy:   policy,
		StateDir: t.TempDir(),
		Now:      s.now,
	}
	return s
}

func (s *Stage) now() time.Time { return time.Now().Add(s.Later) }

// With returns the stage with a further target.
func (s *Stage) With(t publish.Target) *Stage {
	wider, p := *s, *s.Publisher
	wider.targets = append(slices.Clone(s.targets), t)
	p.Targets = wider.targets
	p.Now = wider.now
	wider.Publisher = &p
	return &wider
}

// Through returns the stage's publisher with the fault between it and the targets.
func (s *Stage) Through(f *Fault) *publish.Publisher {
	p := *s.Publisher
	p.Targets = nil
	for _, t := range s.targets {
		p.Targets = append(p.Targets, f.Wrap(t))
	}
	return &p
}

// Publish publishes a generation: a directory of which a part changes each time.
func (s *Stage) Publish(ctx context.Context, p *publish.Publisher, generation int) (publish.Receipt, error) {
	run, err := p.Begin(ctx, Channel)
	if err != nil {
		return publish.Receipt{}, err
	}
	defer run.Close()
	x, err := PutGeneration(ctx, run, generation)
	if err != nil {
		return publish.Receipt{}, err
	}
	return run.Commit(ctx, NewManifest(generation), x)
}

// Heads returns the heads of the targets; nil for a target without one.
func (s *Stage) Heads() []*manifest.Head {
	s.t.Helper()
	var heads []*manifest.Head
	for _, target := range s.targets {
		signed, _, err := target.Load(context.Background(), manifest.HeadKey(Channel))
		if errors.Is(err, publish.ErrNotFound) {
			heads = append(heads, nil)
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		head, err := s.Publisher.Policy.OpenHead(signed, Channel, s.Publisher.Now())
		if err != nil {
			s.t.Fatalf("%s: %v", target, err)
		}
		if other := s.notes[head.Sequence]; other != nil && !bytes.Equal(other, signed) {
			s.t.Fatalf("%s: two heads of sequence %d:\n%s\n%s", target, head.Sequence, other, signed)
		}
		if head.Sequence < s.latest[target] {
			s.t.Fatalf("%s: head of sequence %d after %d", target, head.Sequence, s.latest[target])
		}
		s.notes[head.Sequence], s.latest[target] = signed, head.Sequence
		heads = append(heads, head)
	}
	return heads
}
