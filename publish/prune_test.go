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

// TestPruneKeepsOtherChannels: objects that two channels share stay for the
// other one, and so does what only the other one has.
func TestPruneKeepsOtherChannels(t *testing.T) {
	s, _ := newStage(t)
	if err := publishTo(t, s.Publisher, "other-channel"); err != nil { // generation 0
		t.Fatal(err)
	}
	for g := range 2 {
		mustPublish(t, s, g)
	}
	mustPrune(t, s.Publisher, keep(1), false)
	s.Later = grace + time.Minute
	report := mustPrune(t, s.Publisher, keep(1), false)
	x, bodies := targettest.Generation(0)
	index, _, err := x.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for d := range bodies {
		if _, err := s.Publisher.Targets[0].Stat(t.Context(), manifest.SegmentKey(d)); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Publisher.Targets[0].Stat(t.Context(), manifest.IndexKey(manifest.Sum(index))); err != nil {
		t.Error(err)
	}
	if got := deletedKeys(report); len(got) != 1 || !strings.HasPrefix(got[0], "manifests/") {
		t.Errorf("deleted %v, want the dropped manifest alone", got)
	}
}

// TestPruneFailsClosed: as long as it is not known what must stay, all stays.
func TestPruneFailsClosed(t *testing.T) {
	only := func(t *testing.T, base, pattern string) string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(base, pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		return files[0]
	}
	write := func(file, content string) func(t *testing.T, base string) {
		return func(t *testing.T, base string) {
			path := filepath.Join(base, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, spoil := range map[string]func(t *testing.T, base string){
		"head flipped":         func(t *testing.T, base string) { flip(t, filepath.Join(base, "other-channel/head")) },
		"head empty":           write("other-channel/head", ""),
		"head of a stranger":   write("foreign-channel/head", "qsync head v1\n\n— stranger AAAA\n"),
		"head of no channel":   write("No.Channel/head", "x"),
		"manifest flipped":     func(t *testing.T, base string) { flip(t, only(t, base, "manifests/*")) },
		"manifest gone":        func(t *testing.T, base string) { os.Remove(only(t, base, "manifests/*")) },
		"index flipped":        func(t *testing.T, base string) { flip(t, only(t, base, "indexes/*")) },
		"index gone":           func(t *testing.T, base string) { os.Remove(only(t, base, "indexes/*")) },
		"retired list damaged": write("other-channel/retired", "qsync retired v1\nsnapshot x\n"),
		"retired list unknown": write("other-channel/retired", "qsync retired v2\n"),
		"retired list cut":     write("gone-channel/retired", "qsync retired v1"),
	} {
		t.Run(name, func(t *testing.T) {
			s, base := newStage(t)
			if err := publishTo(t, s.Publisher, "other-channel"); err != nil {
				t.Fatal(err)
			}
			run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := targettest.PutGeneration(t.Context(), run, 1); err != nil {
				t.Fatal(err)
			}
			if err := run.Close(); err != nil {
				t.Fatal(err)
			}
			age(t, base, grace+time.Hour)
			if dry := mustPrune(t, s.Publisher, nil, true); len(deletedKeys(dry)) == 0 {
				t.Fatal("there is nothing to delete, so this proves nothing")
			}
			spoil(t, base)
			before := objects(t, base)
			for _, dryRun := range []bool{true, false} {
				report, err := s.Publisher.Prune(t.Context(), nil, grace, dryRun)
				wantError(t, err, "nothing was deleted")
				if got := deletedKeys(report); len(got) > 0 {
					t.Errorf("reported as deleted: %v", got)
				}
			}
			if diff := cmp.Diff(before, objects(t, base)); diff != "" {
				t.Errorf("(-before +after):\n%s", diff)
			}
		})
	}
}

// TestPruneSparesStrangers: what is not an object of the format is none of its
// business, however old.
func TestPruneSparesStrangers(t *testing.T) {
	s, base := newStage(t)
	mustPublish(t, s, 0)
	digest := manifest.Sum([]byte("x")).Hex()
	strangers := []string{
		"README", "index.html", "segments/notes.txt", "manifests/short.json", "indexes/" + digest + ".json",
		"segments/zz/" + digest + ".zst", "segments/" + digest + ".zst", "manifests/" + strings.ToUpper(digest) + ".json",
		"raw/20261122-040000/full/000001.sst", "raw/" + manifest.SegmentKey(manifest.Sum(nil)), "deep/er/head",
	}
	for _, key := range strangers {
		if err := s.Publisher.Targets[0].Put(t.Context(), key, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Publisher.Targets[0].Put(t.Context(), manifest.SegmentKey(manifest.Sum([]byte("x"))), []byte("x")); err != nil {
		t.Fatal(err)
	}
	age(t, base, grace+time.Hour)
	report := mustPrune(t, s.Publisher, keep(1), false)
	if got, want := deletedKeys(report), []string{manifest.SegmentKey(manifest.Sum([]byte("x")))}; !slices.Equal(got, want) {
		t.Errorf("deleted %v, want %v", got, want)
	}
	for _, key := range strangers {
		if _, err := s.Publisher.Targets[0].Stat(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	s.WantPublished(0)
}

// TestPruneSparesRunInFlight: another agent names an old orphan again, before
// or while this one looks for orphans.
func TestPruneSparesRunInFlight(t *testing.T) {
	for _, when := range []string{"before the listing", "after the listing"} {
		t.Run(when, func(t *testing.T) {
			target, base := newDir(t)
			h := &hooked{Target: target}
			s := targettest.NewStage(t, target)
			mustPublish(t, s, 0)
			broken, err := s.Publisher.Begin(t.Context(), targettest.Channel)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := targettest.PutGeneration(t.Context(), broken, 1); err != nil {
				t.Fatal(err)
			}
			if err := broken.Close(); err != nil {
				t.Fatal(err)
			}
			age(t, base, grace+time.Hour)
			run, err := secondAgent(t, s).Begin(t.Context(), targettest.Channel)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			var x *manifest.Index
			reuse := func() {
				if x, err = targettest.PutGeneration(t.Context(), run, 1); err != nil {
					t.Fatal(err)
				}
			}
			if when == "after the listing" {
				h.afterList = reuse
			} else {
				reuse()
			}
			s.Publisher.Targets = []publish.Target{h}
			if got := deletedKeys(mustPrune(t, s.Publisher, keep(1), false)); len(got) > 0 {
				t.Errorf("deleted %v", got)
			}
			if _, err := run.Commit(t.Context(), targettest.NewManifest(1), x); err != nil {
				t.Fatal(err)
			}
			s.WantPublished(1, 0)
		})
	}
}

// TestPruneSparesLaggard: what a target's own head does not name yet will be
// named by the next run, which takes it from the other targets' heads.
func TestPruneSparesLaggard(t *testing.T) {
	first, firstBase := newDir(t)
	second, secondBase := newDir(t)
	s := targettest.NewStage(t, first, second)
	mustPublish(t, s, 0)
	h := &hooked{Target: second, swap: func(string, func() error) error { return errors.New("connection reset") }}
	s.Publisher.Targets = []publish.Target{first, h}
	if _, err := s.Publish(t.Context(), s.Publisher, 1); err == nil {
		t.Fatal("no error")
	}
	age(t, firstBase, grace+time.Hour)
	age(t, secondBase, grace+time.Hour)
	if got := deletedKeys(mustPrune(t, s.Publisher, nil, false)); len(got) > 0 {
		t.Errorf("deleted %v", got)
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

// TestLostObjectStopsCommit: should a deletion slip in all the same, the head
// never names what is gone.
func TestLostObjectStopsCommit(t *testing.T) {
	s, base := newStage(t)
	mustPublish(t, s, 0)
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	before := objects(t, base)
	x, err := targettest.PutGeneration(t.Context(), run, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range missing(objects(t, base), before)[:1] {
		if err := s.Publisher.Targets[0].Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run.Commit(t.Context(), targettest.NewManifest(1), x); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
	s.WantPublished(0)
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
