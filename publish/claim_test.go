package publish_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/targettest"
)

// TestFilesOfFailedRun: a run that fails takes its files with it, but for the claim, and
// nothing of what is published.
func TestFilesOfFailedRun(t *testing.T) {
	broken := errors.New("the disk is broken")
	for name, c := range map[string]struct {
		fail func(t *testing.T, s *targettest.Stage, run *publish.Run, dir string) error
		want error
		next int // generation
	}{
		"while files are put": {func(t *testing.T, _ *targettest.Stage, run *publish.Run, _ string) error {
			x, _ := targettest.Generation(1)
			return run.PutFiles(t.Context(), targettest.Version(1), x, func(string) (publish.File, error) { return nil, broken }, nil)
		}, broken, 2},
		"at the last look": {func(t *testing.T, _ *targettest.Stage, run *publish.Run, dir string) error {
			x := mustPut(t, run, 1)
			if err := os.Remove(filepath.Join(dir, "same")); err != nil {
				t.Fatal(err)
			}
			_, err := run.Commit(t.Context(), targettest.NewManifest(1), x)
			return err
		}, publish.ErrNotFound, 2},
		"another was faster": {func(t *testing.T, s *targettest.Stage, run *publish.Run, _ string) error {
			x := mustPut(t, run, 1)
			if _, err := s.Publish(t.Context(), secondAgent(t, s), 2); err != nil {
				t.Fatal(err)
			}
			_, err := run.Commit(t.Context(), targettest.NewManifest(1), x)
			return err
		}, publish.ErrConflict, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s, files := newFilesStage(t)
			mustPublish(t, s, 0)
			run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.fail(t, s, run, filepath.Join(channelDir(files), targettest.Version(1))); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if err := run.Close(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{targettest.Version(1) + ".claim.txt"}, filesOf(t, files, 1)); diff != "" {
				t.Error(diff)
			}
			s.CheckWhole()
			mustPublish(t, s, c.next)
			s.CheckWhole()
		})
	}
}

func mustPut(t *testing.T, run *publish.Run, generation int) *manifest.Index {
	t.Helper()
	x, err := targettest.PutGeneration(t.Context(), run, generation)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// filesOf are the objects of a generation's version, without its channel.
func filesOf(t *testing.T, files string, generation int) (all []string) {
	t.Helper()
	err := filepath.WalkDir(channelDir(files), func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, channelDir(files)+"/")
		if err == nil && !entry.IsDir() && strings.HasPrefix(name, targettest.Version(generation)) {
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
