package targettest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// testFilesTwoAgents: two agents whose cuts fall into the same second have other files
// under the same names. One gets the version, and the other one ErrConflict before it
// has written over anything.
func testFilesTwoAgents(t *testing.T, segments publish.Target, files filesTarget) {
	s := NewStage(t, segments, files)
	other := *s.Publisher
	other.StateDir = t.TempDir()
	agents := []*publish.Publisher{s.Publisher, &other}
	for round := range 3 {
		version := 2 * round // the agents' generations are this and the next one
		var runs []*publish.Run
		for _, p := range agents {
			run, err := p.Begin(t.Context(), Channel)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			runs = append(runs, run)
		}
		indexes := make([]*manifest.Index, len(agents))
		errs := make([]error, len(agents))
		put := func(i int) {
			indexes[i], errs[i] = putGenerationAs(t.Context(), runs[i], version+i, Version(version))
		}
		var wg sync.WaitGroup
		for i := range agents {
			wg.Go(func() { put(i) })
		}
		wg.Wait()
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("round %d: nobody may put the version: %v", round, errs)
		}
		wantLost := func() {
			t.Helper()
			if lost := errs[1-winner]; !errors.Is(lost, publish.ErrConflict) {
				t.Fatalf("round %d: the other agent got %v, want ErrConflict", round, lost)
			}
		}
		wantLost()
		if _, err := runs[winner].Commit(t.Context(), NewManifest(version), indexes[winner]); err != nil {
			t.Fatal(err)
		}
		put(1 - winner)
		wantLost()
		for _, run := range runs {
			if err := run.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s.CheckWhole()
	}
	s.WantPublished(4, 2, 0)
}
