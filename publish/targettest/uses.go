package targettest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// place is what the manifests of usesStage name.
var place = manifest.Location{Type: "cloudfront", URL: "https://d111111abcdef8.cloudfront.net"}

// use has the publisher ask that the place is used so.
func (s *Stage) use(u manifest.Use) {
	s.Publisher.Uses = func(m *manifest.Manifest) error {
		for i := range m.Locations {
			m.Locations[i].Use = u
		}
		return nil
	}
}

// usesStage has versions whose manifests name the place, and are older than the grace.
func usesStage(t *testing.T, newStage func(t *testing.T) *Stage, versions int) (*Stage, []manifest.Snapshot) {
	t.Helper()
	s := newStage(t)
	for g := range versions {
		s.publishAt(g)
	}
	s.Later = publish.DefaultGrace + time.Hour
	return s, s.Heads()[0].Snapshots
}

func (s *Stage) publishAt(generation int) {
	s.t.Helper()
	run, err := s.Publisher.Begin(s.t.Context(), Channel)
	if err != nil {
		s.t.Fatal(err)
	}
	defer run.Close()
	x, err := PutGeneration(s.t.Context(), run, generation)
	if err != nil {
		s.t.Fatal(err)
	}
	m := NewManifest(generation)
	m.Locations = []manifest.Location{place}
	if _, err := run.Commit(s.t.Context(), m, x); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Stage) mustRenewUses() (changed int) {
	s.t.Helper()
	changed, err := s.Publisher.RenewUses(s.t.Context(), Channel)
	if err != nil {
		s.t.Fatal(err)
	}
	return changed
}

// wantUse checks what all versions on all targets say of the place.
func (s *Stage) wantUse(want manifest.Use) {
	s.t.Helper()
	for i, head := range s.Heads() {
		for _, snapshot := range head.Snapshots {
			body, err := s.read(s.targets[i], manifest.ManifestKey(snapshot.Manifest), snapshot.Manifest, snapshot.Size)
			if err != nil {
				s.t.Fatal(err)
			}
			m, err := manifest.ParseManifest(body)
			if err != nil {
				s.t.Fatal(err)
			}
			if len(m.Locations) != 1 || m.Locations[0].Use != want {
				s.t.Errorf("%s: version %s has the locations %+v, want use %q", s.targets[i], m.Version, m.Locations, want)
			}
		}
	}
}

// UsesFaults has every operation fail when the live versions get other manifests: the
// heads name what can be restored, and so do those before, for the grace period. The next
// attempt ends it.
func UsesFaults(t *testing.T, newStage func(t *testing.T) *Stage) {
	faults(t, func(ctx context.Context, t *testing.T, f *Fault) {
		s, before := usesStage(t, newStage, 1)
		s.use(manifest.UseNever)
		if _, err := s.Through(f).RenewUses(ctx, Channel); err != nil && f.Hit() == "" {
			t.Fatalf("without a fault: %v", err)
		}
		s.CheckWhole()
		s.mustRenewUses()
		s.wantUse(manifest.UseNever)
		s.wantManifests(before)
	})
}

// UsesUnreadable loses manifests: each is read where it is whole, and one that is so
// nowhere leaves the other versions to be changed. That is an error, and nothing published
// is none.
func UsesUnreadable(t *testing.T, newStage func(t *testing.T) *Stage) {
	s, before := usesStage(t, newStage, 2)
	s.use(manifest.UseNever)
	first := s.targets[0]
	remove := func(target publish.Target, key string) (body []byte) {
		t.Helper()
		body, _, err := target.Load(t.Context(), key)
		if err == nil {
			err = target.Delete(t.Context(), key)
		}
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	remove(first, manifest.ManifestKey(before[0].Manifest))
	rot(t, first, manifest.ManifestKey(before[1].Manifest), make([]byte, before[1].Size))
	if n := s.mustRenewUses(); n != len(before) {
		t.Errorf("%d versions have changed, want %d", n, len(before))
	}
	s.wantUse(manifest.UseNever)

	now := s.Heads()[0].Snapshots
	key := manifest.ManifestKey(now[1].Manifest)
	var body []byte
	for _, target := range s.targets {
		body = remove(target, key)
	}
	s.use(manifest.UseLast)
	n, err := s.Publisher.RenewUses(t.Context(), Channel)
	if n != 1 || !errors.Is(err, publish.ErrNotFound) || !strings.Contains(err.Error(), now[1].Version) {
		t.Errorf("%d versions have changed, and the error is %v", n, err)
	}
	if after := s.Heads()[0].Snapshots; after[0] == now[0] || after[1] != now[1] {
		t.Errorf("the head names %+v after %+v", after, now)
	}
	for _, target := range s.targets {
		mustPut(t, target, key, body)
	}
	if n := s.mustRenewUses(); n != 1 {
		t.Errorf("%d versions have changed, want the one that was unreadable", n)
	}
	s.wantUse(manifest.UseLast)
	if n, err := s.Publisher.RenewUses(t.Context(), "other"); n != 0 || err != nil {
		t.Errorf("%d versions have changed where nothing is published: %v", n, err)
	}
}

// UsesUnknown publishes while nobody can find out how places are to be used: a version
// says what the one before it says.
func UsesUnknown(t *testing.T, newStage func(t *testing.T) *Stage) {
	s := newStage(t)
	unknown := func(*manifest.Manifest) error { return ErrInjected }
	s.Publisher.Uses = unknown
	s.publishAt(0)
	s.wantUse("")
	s.use(manifest.UseNever)
	s.mustRenewUses()
	s.Publisher.Uses = unknown
	s.publishAt(1)
	s.wantUse(manifest.UseNever)
}

// wantManifests checks that all targets hold the manifests after a prune.
func (s *Stage) wantManifests(all []manifest.Snapshot) {
	s.t.Helper()
	if _, err := s.Publisher.Prune(s.t.Context(), map[string]publish.Keep{Channel: {}}, publish.DefaultGrace, false); err != nil {
		s.t.Fatal(err)
	}
	for _, target := range s.targets {
		for _, snapshot := range all {
			if _, err := s.read(target, manifest.ManifestKey(snapshot.Manifest), snapshot.Manifest, snapshot.Size); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// Uses goes there and back. What is as it should be is not signed again, what is
// published in between is like the rest, and the way back leads to the very manifests
// before.
func Uses(t *testing.T, newStage func(t *testing.T) *Stage) {
	s, before := usesStage(t, newStage, 2)
	s.use(manifest.UseNever)
	if n := s.mustRenewUses(); n != len(before) {
		t.Errorf("%d versions have changed, want %d", n, len(before))
	}
	sequence := s.Heads()[0].Sequence
	if n := s.mustRenewUses(); n != 0 || s.Heads()[0].Sequence != sequence {
		t.Errorf("%d versions have changed that should not", n)
	}
	s.publishAt(2)
	s.WantPublished(2, 1, 0)
	s.wantUse(manifest.UseNever)
	during := s.Heads()[0].Snapshots
	s.use("")
	s.mustRenewUses()
	s.WantPublished(2, 1, 0)
	s.wantUse("")
	if diff := cmp.Diff(before, s.Heads()[0].Snapshots[1:]); diff != "" {
		t.Errorf("back again (-before +now):\n%s", diff)
	}
	s.wantManifests(during)
	s.Later += publish.DefaultGrace + time.Hour
	if _, err := s.Publisher.Prune(t.Context(), map[string]publish.Keep{Channel: {}}, publish.DefaultGrace, false); err != nil {
		t.Fatal(err)
	}
	s.WantPublished(2, 1, 0)
	for _, target := range s.targets {
		if have := listed(t, target, "manifests/"); len(have) != len(during) {
			t.Errorf("%s: %v are left", target, have)
		}
	}
}
