package status_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/qsync/qsync/publish/status"
)

const channel = "demo-files"

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, runs *status.Runs, channel string, when time.Time) status.Run {
	t.Helper()
	run, err := runs.Start(status.Run{Channel: channel, Trigger: status.Scheduled, Slot: when, Start: when})
	must(t, err)
	return run
}

func last(t *testing.T, runs *status.Runs, channel string, n int) []status.Run {
	t.Helper()
	got, err := runs.Last(channel, n)
	must(t, err)
	return got
}

func TestRuns(t *testing.T) {
	runs := status.RunsIn(filepath.Join(t.TempDir(), "state"))
	if got := last(t, runs, channel, 5); len(got) != 0 {
		t.Fatalf("before the first run: %+v", got)
	}
	must(t, runs.MarkKilled(channel))
	if _, err := os.Stat(runs.File()); err == nil {
		t.Error("looking made the file")
	}
	a := start(t, runs, channel, noon)
	if got := last(t, runs, channel, 5); !cmp.Equal(got, []status.Run{a}) || a.Outcome != status.Running || a.ID == 0 {
		t.Errorf("%+v", got)
	}
	a.End, a.Outcome, a.Version, a.Sequence = noon.Add(time.Minute), status.Published, "20261122-120000", 7
	a.Height, a.Hash, a.RawBytes, a.ReadBytes, a.UploadedBytes, a.ReusedBytes = 1, "0xab", 2, 3, 4, 5
	a.PauseSeconds, a.Fork, a.Error = 0.25, "copy", "could not be pruned"
	must(t, runs.End(a))
	other := start(t, runs, "other-files", noon.Add(time.Hour))
	b := start(t, runs, channel, noon.Add(time.Hour))
	b.Outcome = status.Failed
	must(t, runs.End(b))
	if got := last(t, runs, channel, 5); !cmp.Equal(got, []status.Run{b, a}) {
		t.Error(cmp.Diff(got, []status.Run{b, a}))
	}
	if got := last(t, runs, channel, 1); !cmp.Equal(got, []status.Run{b}) {
		t.Errorf("%+v", got)
	}
	if got := last(t, runs, "other-files", 5); !cmp.Equal(got, []status.Run{other}) || other.ID <= a.ID || other.ID >= b.ID {
		t.Errorf("%+v", got)
	}
	if got, err := runs.Channels(); err != nil || !cmp.Equal(got, []string{channel, "other-files"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, ok, err := runs.LastPublished(channel); err != nil || !ok || !cmp.Equal(got, a) {
		t.Errorf("%+v, %t, %v", got, ok, err)
	}
	if got, ok, err := runs.LastPublished("other-files"); err != nil || ok {
		t.Errorf("%+v, %t, %v", got, ok, err)
	}
}

// TestKilled leaves runs without an end.
func TestKilled(t *testing.T) {
	runs := status.RunsIn(t.TempDir())
	start(t, runs, channel, noon)
	start(t, runs, "other-files", noon)
	b := start(t, runs, channel, noon.Add(time.Hour))
	if got := last(t, runs, channel, 5); got[0].Outcome != status.Running || got[1].Outcome != status.Interrupted || got[1].Error == "" {
		t.Errorf("after the next start: %+v", got)
	}
	must(t, runs.MarkKilled(channel))
	if got := last(t, runs, channel, 5); got[0].ID != b.ID || got[0].Outcome != status.Interrupted {
		t.Errorf("%+v", got)
	}
	if got := last(t, runs, "other-files", 5); got[0].Outcome != status.Running {
		t.Errorf("that of another channel: %+v", got)
	}
}

func TestTrim(t *testing.T) {
	runs := status.RunsIn(t.TempDir())
	old := start(t, runs, channel, noon.Add(-401*24*time.Hour))
	young := start(t, runs, channel, noon.Add(-399*24*time.Hour))
	start(t, runs, channel, noon)
	if got := last(t, runs, channel, 5); len(got) != 2 || got[1].ID != young.ID {
		t.Errorf("run %d is too old: %+v", old.ID, got)
	}
	// 1000 at once, as so many starts would leave them.
	db, err := bbolt.Open(runs.File(), 0o644, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error {
		all := tx.Bucket([]byte("runs"))
		for range 1000 {
			id, err := all.NextSequence()
			if err != nil {
				return err
			}
			key := []byte{0, 0, 0, 0, 0, 0, byte(id >> 8), byte(id)}
			body := fmt.Appendf(nil, `{"id":%d,"channel":%q,"start":%q,"outcome":"published"}`, id, channel, noon.Format(time.RFC3339))
			if err := all.Bucket([]byte(channel)).Put(key, body); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, db.Close())
	newest := start(t, runs, channel, noon.Add(time.Hour))
	got := last(t, runs, channel, 2000)
	if len(got) != 1000 || got[0].ID != newest.ID || got[999].ID != newest.ID-999 {
		t.Errorf("%d runs are kept, %d to %d", len(got), got[0].ID, got[len(got)-1].ID)
	}
}

// TestTogether has readers while runs are recorded.
func TestTogether(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			runs, name := status.RunsIn(dir), fmt.Sprintf("demo%d-files", i)
			for n := range 10 {
				run, err := runs.Start(status.Run{Channel: name, Start: noon})
				run.Outcome = status.Published
				got, lastErr := runs.Last(name, 100)
				if err := errors.Join(err, runs.End(run), lastErr); err != nil || len(got) != n+1 {
					t.Errorf("run %d: %d on record, %v", n, len(got), err)
				}
			}
		})
	}
	all.Wait()
	seen := map[uint64]bool{}
	for i := range 4 {
		for _, r := range last(t, status.RunsIn(dir), fmt.Sprintf("demo%d-files", i), 100) {
			if seen[r.ID] || r.Outcome != status.Published {
				t.Errorf("%+v", r)
			}
			seen[r.ID] = true
		}
	}
	if len(seen) != 40 {
		t.Errorf("%d runs", len(seen))
	}
}

// TestKilledWhileWriting kills a process that records runs, at any moment: all that
// it was told to be durable is there, and the record goes on.
func TestKilledWhileWriting(t *testing.T) {
	if dir := os.Getenv("QSYNC_TEST_RECORD"); dir != "" {
		for runs := status.RunsIn(dir); ; {
			run := start(t, runs, channel, noon)
			run.Outcome = status.Published
			must(t, runs.End(run))
			_, err := fmt.Fprintf(os.Stdout, "id %d\n", run.ID)
			must(t, err)
		}
	}
	dir := t.TempDir()
	runs := status.RunsIn(dir)
	for round := range 8 {
		writer := exec.Command(os.Args[0], "-test.run=^TestKilledWhileWriting$")
		writer.Env = append(os.Environ(), "QSYNC_TEST_RECORD="+dir)
		out, err := writer.StdoutPipe()
		must(t, err)
		must(t, writer.Start())
		var told uint64
		lines := bufio.NewScanner(out)
		for range round + 1 {
			lines.Scan()
		}
		must(t, writer.Process.Signal(syscall.SIGKILL))
		for more := true; more; more = lines.Scan() {
			if _, err := fmt.Sscanf(lines.Text(), "id %d", &told); err != nil && lines.Text() != "" {
				t.Fatalf("the writer says %q", lines.Text())
			}
		}
		_ = writer.Wait()
		got := last(t, runs, channel, 1000)
		found := false
		for _, r := range got {
			found = found || r.ID == told && r.Outcome == status.Published
		}
		if !found || told == 0 {
			t.Fatalf("run %d is not among %d on record", told, len(got))
		}
	}
}

func TestBroken(t *testing.T) {
	runs := status.RunsIn(t.TempDir())
	must(t, os.WriteFile(runs.File(), make([]byte, 1<<16), 0o644))
	if _, err := runs.Last(channel, 1); err == nil {
		t.Error("a broken file is read")
	}
	if _, err := runs.Start(status.Run{Channel: channel, Start: noon}); err == nil {
		t.Error("a broken file is written")
	}
}

func TestAnchor(t *testing.T) {
	runs := status.RunsIn(t.TempDir())
	if a, err := runs.Anchor(channel); err != nil || a != (status.Anchor{}) {
		t.Errorf("%+v, %v", a, err)
	}
	want := status.Anchor{Schedule: "@every 6h UTC", From: noon}
	must(t, runs.SetAnchor(channel, want))
	if a, err := runs.Anchor(channel); err != nil || a != want {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := runs.Anchor("other-files"); err != nil || a != (status.Anchor{}) {
		t.Errorf("%+v, %v", a, err)
	}
}
