package status_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/publish/status"
)

// TestProbes has a location go down and up again, over midnight, beside one that
// stays up.
func TestProbes(t *testing.T) {
	p := status.ProbesIn(t.TempDir())
	if all, err := p.Locations(); err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	at := func(minutes int) time.Time {
		return time.Date(2026, 11, 22, 23, 50, 0, 0, time.UTC).Add(time.Duration(minutes) * time.Minute)
	}
	probe := func(location string, minutes int, err string) status.Probe {
		return status.Probe{Channel: channel, Location: location, At: at(minutes), Error: err, Version: "20261122-120000"}
	}
	for i, failure := range []string{"", "no answer", "still none", "", ""} {
		must(t, p.Note(probe("cdn", 5*i, failure), probe("ipfs", 5*i, "")))
	}
	must(t, p.Note(probe("cdn", 25, "gone")))

	all, err := p.Locations()
	must(t, err)
	want := []status.Location{
		{Last: probe("cdn", 25, "gone"), Since: at(25), Days: []status.Day{{"2026-11-22", 2, 1}, {"2026-11-23", 4, 2}}},
		{Last: probe("ipfs", 20, ""), Since: at(0), Days: []status.Day{{"2026-11-22", 2, 0}, {"2026-11-23", 3, 0}}},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if share, ok := all[0].Uptime("2026-11-22", "2026-11-23"); !ok || share != 0.5 {
		t.Error(share, ok)
	}
	if share, ok := all[0].Uptime("2026-11-01", "2026-11-21"); ok {
		t.Error(share, "of days without a probe")
	}

	lasts := status.Incident{Channel: channel, Location: "cdn", Start: at(25), Cause: "gone"}
	over := status.Incident{Channel: channel, Location: "cdn", Start: at(5), End: at(15), Cause: "no answer"}
	incidents := func(since time.Time, want ...status.Incident) {
		t.Helper()
		got, err := p.Incidents(since)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	incidents(at(0), lasts, over)
	incidents(at(15), lasts)

	must(t, p.Keep(at(30), func(_, location string) bool { return location == "ipfs" }))
	all, err = p.Locations()
	must(t, err)
	if diff := cmp.Diff(want[1:], all); diff != "" {
		t.Error(diff)
	}
	lasts.End = at(30)
	incidents(at(0), lasts, over)
}

// TestProbesForget keeps a year and a month, and not more.
func TestProbesForget(t *testing.T) {
	p := status.ProbesIn(t.TempDir())
	for month := range 20 {
		at := noon.AddDate(0, month, 0)
		must(t, p.Note(status.Probe{Channel: channel, Location: "cdn", At: at, Error: "no answer"}))
		must(t, p.Note(status.Probe{Channel: channel, Location: "cdn", At: at.Add(time.Hour)}))
	}
	all, err := p.Locations()
	must(t, err)
	incidents, err := p.Incidents(time.Time{})
	must(t, err)
	if days := len(all[0].Days); days != 14 || len(incidents) != 14 {
		t.Errorf("%d days and %d incidents are left", days, len(incidents))
	}
}
