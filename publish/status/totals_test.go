package status_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/qsync/qsync/publish/status"
)

// TestTotals also has a record of before there were totals, and runs so old that they
// are forgotten.
func TestTotals(t *testing.T) {
	runs := status.RunsIn(t.TempDir())
	totals := func() status.Totals {
		t.Helper()
		got, err := runs.Totals(channel)
		must(t, err)
		return got
	}
	if got := totals(); !cmp.Equal(got, status.Totals{}) {
		t.Errorf("before the first run: %+v", got)
	}
	end := func(when time.Time, how status.Outcome) {
		t.Helper()
		r := start(t, runs, channel, when)
		r.End, r.Outcome = when.Add(time.Minute), how
		r.UploadedBytes, r.FilesBytes = 100, 10
		must(t, runs.End(r))
	}
	end(noon, status.Published)
	end(noon, status.Failed)
	want := status.Totals{
		Runs:          map[status.Outcome]int64{status.Published: 1, status.Failed: 1},
		UploadedBytes: 100, FilesBytes: 10,
	}
	if diff := cmp.Diff(want, totals()); diff != "" {
		t.Errorf("two runs (-want +got):\n%s", diff)
	}
	start(t, runs, channel, noon) // it is killed
	if diff := cmp.Diff(want, totals()); diff != "" {
		t.Errorf("one that runs is counted (-want +got):\n%s", diff)
	}
	for range 2 {
		must(t, runs.MarkKilled(channel))
	}
	start(t, runs, channel, noon) // likewise, and the next one finds it
	end(noon, status.Published)
	want.Runs = map[status.Outcome]int64{status.Published: 2, status.Failed: 1, status.Interrupted: 2}
	want.UploadedBytes, want.FilesBytes = 200, 20
	if diff := cmp.Diff(want, totals()); diff != "" {
		t.Errorf("with those that were killed (-want +got):\n%s", diff)
	}

	db, err := bbolt.Open(runs.File(), 0o644, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("totals")) }))
	must(t, db.Close())
	if diff := cmp.Diff(want, totals()); diff != "" {
		t.Errorf("of a record without totals (-want +got):\n%s", diff)
	}
	end(noon.Add(3*365*24*time.Hour), status.Lost) // which forgets those before it
	want.Runs[status.Lost] = 1
	if diff := cmp.Diff(want, totals()); diff != "" || len(last(t, runs, channel, 10)) != 1 {
		t.Errorf("after years (-want +got):\n%s", diff)
	}
}
