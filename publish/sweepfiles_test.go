package publish_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/targettest"
)

// TestFilesOfOthers: a directory that other tools have laid out is not ours to prune,
// even if it is configured for a channel that is published elsewhere.
func TestFilesOfOthers(t *testing.T) {
	s, _ := newStage(t)
	mustPublish(t, s, 0)
	files := t.TempDir()
	theirs := filepath.Join(channelDir(files), "20250101-000000", "full", "CURRENT")
	latest := filepath.Join(channelDir(files), "latest_version.meta.txt")
	for _, file := range []string{theirs, latest} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("20250101-000000\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wider := s.With(newFiles(t, files))
	_, err := wider.Publish(t.Context(), wider.Publisher, 1)
	wantError(t, err, "are not qsync's", "another prefix")
	// A version is dropped, and what it leaves on the target makes nothing ours.
	mustPublish(t, s, 2)
	for range 2 {
		mustPrune(t, wider.Publisher, keep(1), false)
		s.Later += grace + time.Hour
		wider.Later = s.Later
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(channelDir(files)); err != nil || len(entries) != 2 {
		t.Errorf("there are %v, %v, want the two that were theirs", entries, err)
	}
}

// TestPruneTargetBehind: a target of files was left out while versions were dropped.
// It lacks the manifests of those that were never put there, and what is old goes
// elsewhere all the same.
func TestPruneTargetBehind(t *testing.T) {
	s, _ := newStage(t)
	mustPublish(t, s, 0)
	wider := s.With(newFiles(t, t.TempDir()))
	mustPublish(t, wider, 1)
	mustPublish(t, s, 2)
	mustPrune(t, s.Publisher, keep(1), false)
	s.Later = grace + time.Hour
	wider.Later = s.Later
	mustPrune(t, s.Publisher, keep(1), false)
	mustPrune(t, wider.Publisher, keep(1), false)
	mustPublish(t, wider, 3)
	mustPrune(t, wider.Publisher, keep(1), false)
	wider.WantPublished(3)
}

// TestFilesOfUnfinishedRun: what a run left that was killed goes when it is old
// enough, as a whole, and nothing else does.
func TestFilesOfUnfinishedRun(t *testing.T) {
	s, files := newFilesStage(t)
	mustPublish(t, s, 0)
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
	left := filepath.Join(channelDir(files), targettest.Version(1))
	present := func() bool { _, err := os.Stat(filepath.Join(left, "same")); return err == nil }
	// A copy of an old file is as old as that. The version is as young as its youngest.
	age(t, filepath.Join(left, "same"), grace+time.Hour)
	for _, step := range []struct {
		later  time.Duration
		dryRun bool
		want   bool
	}{{0, false, true}, {grace + time.Minute, true, true}, {grace + time.Minute, false, false}} {
		s.Later = step.later
		report := mustPrune(t, s.Publisher, keep(1), step.dryRun)
		if present() != step.want {
			t.Errorf("%+v: present is %t", step, present())
		}
		var deleted []string
		for _, key := range deletedKeys(report) {
			if name, inside := strings.CutPrefix(key, targettest.Channel+"/"+targettest.Version(1)+"/"); inside {
				deleted = append(deleted, name)
			}
		}
		want := []string{"changing", "files.txt", "growing", "same", "void", "zeros"}
		if step.later == 0 {
			want = nil
		}
		if !slices.Equal(deleted, want) {
			t.Errorf("%+v: deleted %q, want %q", step, deleted, want)
		}
	}
	s.WantPublished(0)
}

// TestPruneSparesFilesBeingPut: a run in progress has put its list of files lately,
// and links to old ones since.
func TestPruneSparesFilesBeingPut(t *testing.T) {
	s, files := newFilesStage(t)
	mustPublish(t, s, 0)
	age(t, filepath.Join(channelDir(files), targettest.Version(0)), grace+time.Hour)
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	x, err := targettest.PutGeneration(t.Context(), run, 1)
	if err != nil {
		t.Fatal(err)
	}
	other := secondAgent(t, s)
	mustPrune(t, other, map[string]publish.Keep{}, false)
	if _, err := run.Commit(t.Context(), targettest.NewManifest(1), x); err != nil {
		t.Fatal(err)
	}
	s.WantPublished(1, 0)
}
