package publish_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/targettest"
)

func TestBeginLocks(t *testing.T) {
	s, _ := newStage(t)
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Publisher.Begin(t.Context(), targettest.Channel)
	if !errors.Is(err, publish.ErrInUse) {
		t.Errorf("a second run: %v, want ErrInUse", err)
	}
	wantError(t, err, targettest.Channel, fmt.Sprint("process ", os.Getpid()), s.Publisher.StateDir)
	if other, err := s.Publisher.Begin(t.Context(), "another-channel"); err != nil {
		t.Errorf("a run of another channel: %v", err)
	} else if err := other.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := run.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	mustPublish(t, s, 0)
}

func TestBeginRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(p *publish.Publisher)
		channel string
		says    string
	}{
		"no name":       {func(p *publish.Publisher) { p.Name = "" }, targettest.Channel, "name"},
		"no targets":    {func(p *publish.Publisher) { p.Targets = nil }, targettest.Channel, "targets"},
		"no signers":    {func(p *publish.Publisher) { p.Signers = nil }, targettest.Channel, "key"},
		"no state":      {func(p *publish.Publisher) { p.StateDir = "" }, targettest.Channel, "state"},
		"bad channel":   {func(*publish.Publisher) {}, "../escape", "../escape"},
		"reserved name": {func(*publish.Publisher) {}, "segments", "segments"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStage(t)
			c.change(s.Publisher)
			_, err := s.Publisher.Begin(t.Context(), c.channel)
			wantError(t, err, c.says)
		})
	}
}

// TestBeginRenewsExpired: the agent was off for long; its own head is good
// enough to go on from.
func TestBeginRenewsExpired(t *testing.T) {
	s, _ := newStage(t)
	mustPublish(t, s, 0)
	s.Later = 2 * publish.DefaultHeadTTL
	mustPublish(t, s, 1)
	s.WantPublished(1, 0)
}

func TestBeginRefusesForeignHead(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, s *targettest.Stage, base string){
		"flipped bit": func(t *testing.T, _ *targettest.Stage, base string) { flip(t, headFile(base)) },
		"other key": func(t *testing.T, s *targettest.Stage, _ string) {
			target, _ := newDir(t)
			stranger := targettest.NewStage(t, target)
			s.Publisher.Policy, s.Publisher.Signers = stranger.Publisher.Policy, stranger.Publisher.Signers
		},
		"other channel's": func(t *testing.T, s *targettest.Stage, base string) {
			run, err := s.Publisher.Begin(t.Context(), "other-channel")
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			x, err := targettest.PutGeneration(t.Context(), run, 0)
			if err != nil {
				t.Fatal(err)
			}
			m := targettest.NewManifest(0)
			m.Channel = "other-channel"
			if _, err := run.Commit(t.Context(), m, x); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(base, "other-channel/head"), headFile(base)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, base := newStage(t)
			mustPublish(t, s, 0)
			spoil(t, s, base)
			before, err := os.ReadFile(headFile(base))
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Publish(t.Context(), s.Publisher, 1)
			if !errors.Is(err, trust.ErrUntrusted) {
				t.Errorf("%v, want ErrUntrusted", err)
			}
			wantError(t, err, targettest.Channel+"/head", base, "delete it")
			if after, err := os.ReadFile(headFile(base)); err != nil || string(after) != string(before) {
				t.Error("the head was changed")
			}
		})
	}
}

func TestBeginRefusesDamagedPrevious(t *testing.T) {
	for _, pattern := range []string{"manifests/*", "indexes/*"} {
		s, base := newStage(t)
		mustPublish(t, s, 0)
		files, err := filepath.Glob(filepath.Join(base, pattern))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		flip(t, files[0])
		_, err = s.Publisher.Begin(t.Context(), targettest.Channel)
		wantError(t, err, "digest", filepath.Base(files[0]), base)
	}
}

// TestSequenceNeverRepeats: a target that lost its heads does not make the agent
// sign other heads under numbers that clients have seen.
func TestSequenceNeverRepeats(t *testing.T) {
	s, base := newStage(t)
	mustPublish(t, s, 0)
	last := mustPublish(t, s, 1)
	for _, file := range []string{headFile(base), filepath.Join(base, manifest.CatalogKey)} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if next := mustPublish(t, s, 2); next.Sequence <= last.Sequence {
		t.Errorf("sequence %d after %d", next.Sequence, last.Sequence)
	}
	s.WantPublished(2)
}

func TestDamagedSequence(t *testing.T) {
	s, _ := newStage(t)
	mustPublish(t, s, 0)
	file := filepath.Join(s.Publisher.StateDir, targettest.Channel+".sequence")
	if err := os.WriteFile(file, []byte("x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := s.Publish(t.Context(), s.Publisher, 1)
	wantError(t, err, file, "remove it")
	s.WantPublished(0)
}

// TestNewTarget: a target that is added later gets all that the head names,
// wherever it stands in the list.
func TestNewTarget(t *testing.T) {
	for name, order := range map[string]func(old, added publish.Target) []publish.Target{
		"last":  func(old, added publish.Target) []publish.Target { return []publish.Target{old, added} },
		"first": func(old, added publish.Target) []publish.Target { return []publish.Target{added, old} },
	} {
		t.Run(name, func(t *testing.T) {
			s, base := newStage(t)
			old, err := dir.New(base)
			if err != nil {
				t.Fatal(err)
			}
			mustPublish(t, s, 0)
			mustPublish(t, s, 1)
			added, _ := newDir(t)
			wide := targettest.NewStage(t, order(old, added)...)
			wide.Publisher.Signers, wide.Publisher.Policy = s.Publisher.Signers, s.Publisher.Policy
			run, err := wide.Publisher.Begin(t.Context(), targettest.Channel)
			if err != nil {
				t.Fatal(err)
			}
			if m, x := run.Previous(); m == nil || x == nil || m.Version != targettest.Version(1) {
				t.Errorf("previous is %+v", m)
			}
			if err := run.Close(); err != nil {
				t.Fatal(err)
			}
			wide.WantPublished(1, 0)
			mustPublish(t, wide, 2)
			wide.WantPublished(2, 1, 0)
		})
	}
}

// TestTargetsDisagree: two heads of one sequence are an attack, or agents that
// do not agree which target decides.
func TestTargetsDisagree(t *testing.T) {
	s, base := newStage(t)
	mustPublish(t, s, 0)
	target, otherBase := newDir(t)
	other := targettest.NewStage(t, target)
	other.Publisher.Signers, other.Publisher.Policy = s.Publisher.Signers, s.Publisher.Policy
	mustPublish(t, other, 5)
	s.Publisher.Targets = append(s.Publisher.Targets, target)
	_, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	wantError(t, err, "sequence 1", base, otherBase, "first")
}

func TestRenew(t *testing.T) {
	s, _ := newStage(t)
	if err := s.Publisher.Renew(t.Context(), targettest.Channel); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("renew of nothing: %v, want ErrNotFound", err)
	}
	mustPublish(t, s, 0)
	before := s.Heads()[0]
	s.Later = 10 * 24 * time.Hour
	if err := s.Publisher.Renew(t.Context(), targettest.Channel); err != nil {
		t.Fatal(err)
	}
	s.WantPublished(0) // head and catalog are fresh again
	after := s.Heads()[0]
	if after.Sequence != before.Sequence+1 || !after.Expires.After(before.Expires.Add(9*24*time.Hour)) {
		t.Errorf("renewed %+v to %+v", before, after)
	}
}

// TestUntrustedSigner: a head that nobody would believe does not replace one
// that is believed.
func TestUntrustedSigner(t *testing.T) {
	s, _ := newStage(t)
	mustPublish(t, s, 0)
	key, _, err := trust.GenerateKey("stranger.example.org")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := trust.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	s.Publisher.Signers = []note.Signer{signer}
	_, err = s.Publish(t.Context(), s.Publisher, 1)
	if !errors.Is(err, trust.ErrUntrusted) {
		t.Errorf("%v, want ErrUntrusted", err)
	}
	wantError(t, err, "configured key")
	s.WantPublished(0)
}
