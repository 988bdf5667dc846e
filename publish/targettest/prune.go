package targettest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

var keepOne = map[string]publish.Keep{Channel: {Versions: 1}}

// pruneStage has two versions, whose objects are older than the grace.
func pruneStage(t *testing.T, newStage func(t *testing.T) *Stage) (*Stage, []manifest.Snapshot) {
	t.Helper()
	s := newStage(t)
	for g := range 2 {
		if _, err := s.Publish(t.Context(), s.Publisher, g); err != nil {
			t.Fatal(err)
		}
	}
	s.Later = publish.DefaultGrace + time.Hour
	return s, s.CheckWhole()[0].Snapshots
}

func (s *Stage) mustPrune(p *publish.Publisher) {
	s.t.Helper()
	if _, err := p.Prune(s.t.Context(), keepOne, publish.DefaultGrace, false); err != nil {
		s.t.Fatal(err)
	}
}

// testDropFaults: whatever fails when a version is dropped, it can be restored
// for the grace period.
func testDropFaults(t *testing.T, newStage func(t *testing.T) *Stage) {
	faults(t, func(ctx context.Context, t *testing.T, f *Fault) {
		s, snapshots := pruneStage(t, newStage)
		if _, err := s.Through(f).Prune(ctx, keepOne, publish.DefaultGrace, false); err != nil && f.Hit() == "" {
			t.Fatalf("without a fault: %v", err)
		}
		s.CheckWhole()
		s.mustPrune(s.Publisher)
		s.WantPublished(1)
		for _, target := range s.targets {
			for _, snapshot := range snapshots {
				if err := s.restore(target, snapshot); err != nil {
					t.Fatalf("%s: version %s within its grace: %v", f, snapshot.Version, err)
				}
			}
		}
	})
}

// testPruneFaults: whatever fails when objects are deleted, the head names only
// what can be restored, and the next prune leaves exactly that.
func testPruneFaults(t *testing.T, newStage func(t *testing.T) *Stage) {
	faults(t, func(ctx context.Context, t *testing.T, f *Fault) {
		s, snapshots := pruneStage(t, newStage)
		s.mustPrune(s.Publisher)
		s.Later += publish.DefaultGrace + time.Minute
		if _, err := s.Through(f).Prune(ctx, keepOne, publish.DefaultGrace, false); err != nil && f.Hit() == "" {
			t.Fatalf("without a fault: %v", err)
		}
		s.CheckWhole()
		s.mustPrune(s.Publisher)
		s.WantPublished(1)
		for _, target := range s.targets {
			if diff := cmp.Diff(live(t, target, snapshots[0]), listed(t, target, "")); diff != "" {
				t.Fatalf("%s: after the next prune (-want +got):\n%s", f, diff)
			}
		}
	})
}

// live is what a target holds if it holds generation 1 and nothing else.
func live(t *testing.T, target publish.Target, snapshot manifest.Snapshot) map[string]int64 {
	t.Helper()
	x, bodies := Generation(1)
	index, _, err := x.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{
		manifest.ManifestKey(snapshot.Manifest): snapshot.Size,
		manifest.IndexKey(manifest.Sum(index)):  int64(len(index)),
	}
	pointers := []string{manifest.CatalogKey, manifest.HeadKey(Channel), Channel + "/retired"}
	if _, files := target.(publish.Files); files {
		version := Channel + "/" + Version(1)
		for path, raw := range Raw(1) {
			want[version+"/"+path] = int64(len(raw))
		}
		pointers = append(pointers, version+".claim.txt", version+"/files.txt", version+".meta.txt", Channel+"/latest_version.meta.txt")
	} else {
		for d, body := range bodies {
			want[manifest.SegmentKey(d)] = int64(len(body))
		}
	}
	for _, key := range pointers {
		want[key] = mustStat(t, target, key).Size
	}
	return want
}
