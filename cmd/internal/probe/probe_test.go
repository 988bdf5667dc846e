package probe

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/targettest"
)

// TestProbeNever: what is signed is read everywhere, and what leads to the data where one
// may take data.
func TestProbeNever(t *testing.T) {
	base := t.TempDir()
	target, err := dir.New(base)
	must(t, err)
	stage := targettest.NewStage(t, target)
	run, err := stage.Publisher.Begin(t.Context(), targettest.Channel)
	must(t, err)
	defer run.Close()
	x, err := targettest.PutGeneration(t.Context(), run, 1)
	must(t, err)
	m := targettest.NewManifest(1)
	m.Locations = []manifest.Location{
		{Type: "cloudfront", URL: "https://never.cloudfront.net", Use: manifest.UseNever},
		{Type: "cloudfront", URL: "https://last.cloudfront.net", Use: manifest.UseLast},
	}
	_, err = run.Commit(t.Context(), m, x)
	must(t, err)
	must(t, os.RemoveAll(filepath.Join(base, "indexes")))
	for location, well := range map[string]bool{
		"https://never.cloudfront.net": true, "https://last.cloudfront.net": false, "https://other.cloudfront.net": false,
	} {
		r := &Reader{Policy: stage.Publisher.Policy, Marks: trust.Marks{Dir: t.TempDir()}, Sample: 1 << 20}
		seen, err := r.Probe(t.Context(), &Place{
			Channel: targettest.Channel, Location: location,
			Open: func() (fetcher.Source, error) { return source.Open(base) },
		})
		must(t, err)
		if seen.OK() != well || seen.Version != targettest.Version(1) || seen.SnapshotBytes == 0 {
			t.Errorf("%s, without the index: %+v, want all well: %t", location, seen, well)
		}
	}
}
