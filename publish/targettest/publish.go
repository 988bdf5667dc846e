package targettest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// recorder notes the keys that were stored, in order.
type recorder struct {
	publish.Target
	mu   sync.Mutex
	keys []string
}

func (r *recorder) note(key string, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.keys = append(r.keys, key)
	}
	return err
}

func (r *recorder) Put(ctx context.Context, key string, body []byte) error {
	return r.note(key, r.Target.Put(ctx, key, body))
}

func (r *recorder) Swap(ctx context.Context, key, tag string, body []byte) error {
	return r.note(key, r.Target.Swap(ctx, key, tag, body))
}

// testUploadOrder: nothing names what is not there yet, and the second version
// sends what changed and nothing else.
func testUploadOrder(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	r := &recorder{Target: newTarget(t)}
	s := NewStage(t, r)
	known := map[string]bool{}
	for generation := range 2 {
		r.keys = nil
		receipt, err := s.Publish(t.Context(), s.Publisher, generation)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		var uploaded, reused int64
		x, bodies := Generation(generation)
		for d, body := range bodies {
			key := manifest.SegmentKey(d)
			if known[key] {
				reused += int64(len(body))
				continue
			}
			known[key] = true
			want = append(want, key)
			uploaded += int64(len(body))
		}
		slices.Sort(want)
		index, _, err := x.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		snapshot := s.Heads()[0].Snapshots[0]
		uploaded += int64(len(index)) + snapshot.Size
		want = append(want,
			manifest.IndexKey(manifest.Sum(index)),
			manifest.ManifestKey(receipt.Manifest),
			manifest.HeadKey(Channel),
			manifest.CatalogKey)
		slices.Sort(r.keys[:max(0, len(r.keys)-4)])
		if diff := cmp.Diff(want, r.keys); diff != "" {
			t.Errorf("generation %d (-want +got):\n%s", generation, diff)
		}
		wantReceipt := publish.Receipt{
			Version: Version(generation), Sequence: int64(generation) + 1, Manifest: snapshot.Manifest,
			UploadedBytes: uploaded, ReusedBytes: reused,
		}
		if diff := cmp.Diff(wantReceipt, receipt); diff != "" {
			t.Errorf("generation %d (-want +got):\n%s", generation, diff)
		}
	}
	s.WantPublished(1, 0)
}

// testTwoAgents: two agents on one channel, who know nothing of each other. One
// wins, the other one gets ErrConflict.
func testTwoAgents(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	s := NewStage(t, newTarget(t))
	other := *s.Publisher
	other.StateDir = t.TempDir()
	agents := []*publish.Publisher{s.Publisher, &other}
	var published []int
	for round := range 5 {
		// Both have begun and put everything before one of them commits.
		var runs []*publish.Run
		var indexes []*manifest.Index
		for i, p := range agents {
			run, err := p.Begin(t.Context(), Channel)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			x, err := PutGeneration(t.Context(), run, 2*round+i)
			if err != nil {
				t.Fatal(err)
			}
			runs, indexes = append(runs, run), append(indexes, x)
		}
		errs := make([]error, len(agents))
		var wg sync.WaitGroup
		for i, run := range runs {
			wg.Go(func() {
				_, errs[i] = run.Commit(t.Context(), NewManifest(2*round+i), indexes[i])
			})
		}
		wg.Wait()
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("round %d: nobody won: %v", round, errs)
		}
		if lost := errs[1-winner]; !errors.Is(lost, publish.ErrConflict) {
			t.Fatalf("round %d: the loser got %v, want ErrConflict", round, lost)
		}
		for _, run := range runs {
			if err := run.Close(); err != nil {
				t.Fatal(err)
			}
		}
		published = append([]int{2*round + winner}, published...)
		s.WantPublished(published...)
	}
}

// faults calls test with a fault at operation 1, 2, … of each manner, until
// there are fewer operations. The fault is for what runs under ctx.
func faults(t *testing.T, test func(ctx context.Context, t *testing.T, f *Fault)) {
	for name, manner := range map[string]struct{ applied, lasting, cancel bool }{
		"Refused":      {},
		"Applied":      {applied: true},
		"KilledBefore": {lasting: true},
		"KilledAfter":  {applied: true, lasting: true},
		"Cancelled":    {cancel: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				f := &Fault{At: at, Applied: manner.applied, Lasting: manner.lasting}
				ctx, cancel := context.WithCancel(t.Context())
				if manner.cancel {
					f.Cancel = cancel
				}
				func() {
					defer cancel()
					defer func() {
						if t.Failed() {
							t.Log(f)
						}
					}()
					test(ctx, t, f)
				}()
				if f.Hit() == "" {
					if at < 10 {
						t.Fatalf("only %d operations were seen", at-1)
					}
					return
				}
			}
		})
	}
}

// wantRecovered checks that a run that only begins finishes what was committed.
func (s *Stage) wantRecovered(f *Fault, want []int) {
	s.t.Helper()
	run, err := s.Publisher.Begin(s.t.Context(), Channel)
	if err != nil {
		s.t.Fatalf("%s: the next run: %v", f, err)
	}
	if err := run.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.WantPublished(want...)
}

// testPublishFaults: whatever fails, the heads name only what can be restored,
// and the next run puts everything right.
func testPublishFaults(t *testing.T, newStage func(t *testing.T) *Stage) {
	for name, before := range map[string]int{"FirstVersion": 0, "NextVersion": 1} {
		t.Run(name, func(t *testing.T) {
			faults(t, func(ctx context.Context, t *testing.T, f *Fault) {
				s := newStage(t)
				var want []int
				for g := range before {
					if _, err := s.Publish(t.Context(), s.Publisher, g); err != nil {
						t.Fatal(err)
					}
					want = append([]int{g}, want...)
				}
				receipt, err := s.Publish(ctx, s.Through(f), before)
				if f.Hit() == "" && err != nil {
					t.Fatalf("without a fault: %v", err)
				}
				heads := s.CheckWhole()
				committed := heads[0] != nil && heads[0].Snapshots[0].Version == Version(before)
				if receipt.Version != "" && !committed {
					t.Fatalf("%s: the receipt says that the version is published, and it is not", f)
				}
				if err == nil && !committed {
					t.Fatalf("%s: no error, and the version is not published", f)
				}
				if committed {
					want = append([]int{before}, want...)
					s.wantRecovered(f, want)
				}
				if _, err := s.Publish(t.Context(), s.Publisher, before+1); err != nil {
					t.Fatalf("%s: the next run: %v", f, err)
				}
				s.WantPublished(append([]int{before + 1}, want...)...)
			})
		})
	}
}
