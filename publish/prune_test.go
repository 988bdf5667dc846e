package publish_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/targettest"
)

const grace = publish.DefaultGrace

func keep(versions int) map[string]publish.Keep {
	return map[string]publish.Keep{targettest.Channel: {Versions: versions}}
}

func mustPrune(t *testing.T, p *publish.Publisher, keep map[string]publish.Keep, dryRun bool) *publish.Pruned {
	t.Helper()
	report, err := p.Prune(t.Context(), keep, grace, dryRun)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func deletedKeys(report *publish.Pruned) []string {
	var keys []string
	for _, d := range report.Deleted {
		for _, o := range d.Objects {
			keys = append(keys, o.Key)
		}
	}
	slices.Sort(keys)
	return keys
}

// missing are the keys of before that are not in after.
func missing(before, after []string) []string {
	var gone []string
	for _, key := range before {
		if !slices.Contains(after, key) {
			gone = append(gone, key)
		}
	}
	slices.Sort(gone)
	return gone
}

// TestPruneLife is the way of a version out of the world, and the dry runs that
// foretell each step.
func TestPruneLife(t *testing.T) {
	s, base := newStage(t)
	for g := range 3 {
		mustPublish(t, s, g)
	}
	// Orphans: a run that never came to its commit.
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := targettest.PutGeneration(t.Context(), run, 9); err != nil {
		t.Fatal(err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	dropped := func(generations ...int) []publish.Dropped {
		var all []publish.Dropped
		for _, g := range generations {
			all = append(all, publish.Dropped{Channel: targettest.Channel, Version: targettest.Version(g)})
		}
		return all
	}
	_, bodies := targettest.Generation(9)
	var orphans []string
	for _, key := range objects(t, base) {
		for d := range bodies {
			if key == manifest.SegmentKey(d) {
				orphans = append(orphans, key)
			}
		}
	}
	if len(orphans) != len(bodies) {
		t.Fatalf("%d orphans of %d", len(orphans), len(bodies))
	}
	for _, step := range []struct {
		name    string
		later   time.Duration
		dropped []publish.Dropped
		objects int // that are deleted
		want    []int
	}{
		{"young orphans", 0, dropped(1, 0), 0, []int{2}},
		{"within grace", grace - time.Minute, nil, 0, []int{2}},
		// The retired manifests, indexes and two segments each; two of the orphan's.
		{"after grace", grace + time.Minute, nil, 2*(1+1+2) + 2, []int{2}},
		{"again", grace + time.Minute, nil, 0, []int{2}},
	} {
		s.Later = step.later
		before := objects(t, base)
		foretold := mustPrune(t, s.Publisher, keep(1), true)
		if diff := cmp.Diff(before, objects(t, base)); diff != "" {
			t.Fatalf("%s: the dry run changed objects (-before +after):\n%s", step.name, diff)
		}
		report := mustPrune(t, s.Publisher, keep(1), false)
		if diff := cmp.Diff(step.dropped, report.Dropped); diff != "" {
			t.Errorf("%s: dropped (-want +got):\n%s", step.name, diff)
		}
		if diff := cmp.Diff(missing(before, objects(t, base)), deletedKeys(report)); diff != "" {
			t.Errorf("%s: deleted (-really +reported):\n%s", step.name, diff)
		}
		if got := len(deletedKeys(report)); got != step.objects {
			t.Errorf("%s: %d objects deleted, want %d: %v", step.name, got, step.objects, deletedKeys(report))
		}
		if diff := cmp.Diff(deletedKeys(foretold), deletedKeys(report)); diff != "" {
			t.Errorf("%s: deleted (-dry run +run):\n%s", step.name, diff)
		}
		if diff := cmp.Diff(foretold.Dropped, report.Dropped); diff != "" {
			t.Errorf("%s: dropped (-dry run +run):\n%s", step.name, diff)
		}
		if foretold.Deleted[0].Bytes != report.Deleted[0].Bytes {
			t.Errorf("%s: %d bytes foretold, %d reported", step.name, foretold.Deleted[0].Bytes, report.Deleted[0].Bytes)
		}
		s.WantPublished(step.want...)
	}
	retired, err := os.ReadFile(filepath.Join(base, targettest.Channel, "retired"))
	if err != nil || strings.Count(string(retired), "\n") != 1 {
		t.Errorf("after all, the retired list is %q, %v", retired, err)
	}
}

// TestPruneReportsAfterError: what was dropped is said although a later target
// failed, and what was not is not.
func TestPruneReportsAfterError(t *testing.T) {
	for broken, want := range map[int]int{0: 0, 1: 1} {
		var targets []publish.Target
		for range 2 {
			target, _ := newDir(t)
			targets = append(targets, target)
		}
		s := targettest.NewStage(t, targets...)
		mustPublish(t, s, 0)
		mustPublish(t, s, 1)
		h := &hooked{Target: targets[broken]}
		h.swap = func(key string, swap func() error) error {
			if key == manifest.HeadKey(targettest.Channel) {
				return errors.New("connection reset")
			}
			return swap()
		}
		s.Publisher.Targets = slices.Clone(targets)
		s.Publisher.Targets[broken] = h
		report, err := s.Publisher.Prune(t.Context(), keep(1), grace, false)
		wantError(t, err, "connection reset", h.String())
		if len(report.Dropped) != want {
			t.Errorf("target %d failed: dropped %v, want %d", broken, report.Dropped, want)
		}
	}
}

// TestPruneOrder: manifests go before indexes and those before segments, so that
// nothing ever names what is gone.
func TestPruneOrder(t *testing.T) {
	target, _ := newDir(t)
	h := &hooked{Target: target}
	s := targettest.NewStage(t, h)
	for g := range 3 {
		mustPublish(t, s, g)
	}
	mustPrune(t, s.Publisher, keep(1), false)
	s.Later = grace + time.Minute
	mustPrune(t, s.Publisher, keep(1), false)
	var kinds []string
	for _, key := range h.deleted {
		kind, _, _ := strings.Cut(key, "/")
		kinds = append(kinds, kind)
	}
	if want := "manifests indexes segments"; strings.Join(slices.Compact(kinds), " ") != want {
		t.Errorf("deleted %v, want %s", h.deleted, want)
	}
}

func TestPruneRemovesLeftovers(t *testing.T) {
	s, base := newStage(t)
	mustPublish(t, s, 0)
	file := filepath.Join(base, ".qsync", "tmp", "half")
	if err := os.WriteFile(file, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	age(t, base, grace+time.Hour)
	for _, dryRun := range []bool{true, false} {
		report := mustPrune(t, s.Publisher, keep(1), dryRun)
		if report.Deleted[0].Bytes != 4 {
			t.Errorf("dry run %t: %d bytes, want 4", dryRun, report.Deleted[0].Bytes)
		}
		if _, err := os.Stat(file); (err == nil) != dryRun {
			t.Errorf("dry run %t: %v", dryRun, err)
		}
	}
}

func TestPruneRefuses(t *testing.T) {
	s, base := newStage(t)
	mustPublish(t, s, 0)
	_, err := s.Publisher.Prune(t.Context(), keep(1), time.Second, false)
	wantError(t, err, "grace of 1s")
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publisher.Prune(t.Context(), keep(1), grace, false); !errors.Is(err, publish.ErrInUse) {
		t.Errorf("during a run: %v, want ErrInUse", err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, headFile(base))
	if _, err := s.Publisher.Prune(t.Context(), keep(1), grace, false); !errors.Is(err, trust.ErrUntrusted) {
		t.Errorf("forged head: %v, want ErrUntrusted", err)
	}
}
