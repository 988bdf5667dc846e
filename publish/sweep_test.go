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
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/targettest"
)

// What a prune must not delete.

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

// TestLostObjectStopsCommit: should a deletion slip in all the same, the head
// never names what is gone, be it new or of a run that broke earlier.
func TestLostObjectStopsCommit(t *testing.T) {
	for name, brokenRuns := range map[string]int{"sent": 0, "found there": 1} {
		t.Run(name, func(t *testing.T) {
			s, base := newStage(t)
			mustPublish(t, s, 0)
			before := objects(t, base)
			for range brokenRuns {
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
			}
			run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			x, err := targettest.PutGeneration(t.Context(), run, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Publisher.Targets[0].Delete(t.Context(), missing(objects(t, base), before)[0]); err != nil {
				t.Fatal(err)
			}
			if _, err := run.Commit(t.Context(), targettest.NewManifest(1), x); !errors.Is(err, publish.ErrNotFound) {
				t.Errorf("%v, want ErrNotFound", err)
			}
			s.WantPublished(0)
		})
	}
}
