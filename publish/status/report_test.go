package status_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/publish/status"
)

var november = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// reportFacts are of a November: a run each day, a better node since the 10th, an
// incident that began in October, and one that lasts.
func reportFacts() status.ReportFacts {
	const archive, prune = "polkadot-rocksdb-archive", "polkadot-paritydb-prune"
	f := status.ReportFacts{
		Publisher: "snapshots.example.org", Channels: []string{archive, prune}, Runs: map[string][]status.Run{},
		Locations: []status.Location{
			locationOf(archive, "https://d111111abcdef8.cloudfront.net", 60, map[int]int{40: 288, 22: 201, 3: 1}),
			locationOf(archive, "https://snapshots.example.org", 90, nil),
			locationOf(prune, "s3://qsync-raw?region=us-east-1&requester-pays=true", 20, nil),
		},
		Incidents: []status.Incident{
			{Channel: prune, Location: "s3://qsync-raw", Start: evening.Add(-time.Hour), Cause: "dial tcp 10.1.2.3:443: connect: connection refused"},
			incident(archive, "https://d111111abcdef8.cloudfront.net", "server answered 503 Service Unavailable", november.Add(-3*time.Hour), 5*time.Hour),
			incident(archive, "https://d111111abcdef8.cloudfront.net", "in October", november.Add(-9*time.Hour), time.Hour),
		},
		Volumes: []status.Volume{{Name: "E2QWRUHEXAMPLE", Bytes: 12_345_678_901_234, USD: 1049.38, Known: evening.Add(-2 * time.Hour)}, {Name: "serve", Bytes: 7}},
		Changes: []status.Change{
			{At: november.AddDate(0, 0, -3), What: status.ChangeAgent, To: "v0.1.0"},
			{At: november.AddDate(0, 0, 4), What: status.ChangeAgent, From: "v0.1.0", To: "v0.2.0"},
			{At: november.AddDate(0, 0, 5), What: status.ChangeConfiguration, From: "sha256:" + strings.Repeat("ab", 32), To: "sha256:" + strings.Repeat("cd", 32)},
		},
	}
	// Newest first, from the 25th of November back into October.
	for day := 24; day >= -5; day-- {
		start := november.AddDate(0, 0, day).Add(4 * time.Hour)
		run := status.Run{
			Channel: archive, Start: start, End: start.Add(time.Hour), Outcome: status.Published, Node: "Parity Polkadot 1.20.0",
			RawBytes: 1 << 40, UploadedBytes: int64(day+10) << 30, FilesBytes: 1 << 30, PauseSeconds: 0.004 * float64(day+6),
		}
		if day >= 9 {
			run.Node = "Parity Polkadot 1.20.1"
		}
		switch day {
		case 12, 13:
			run.Outcome, run.UploadedBytes, run.FilesBytes, run.PauseSeconds, run.RawBytes = status.Failed, 0, 0, 0, 0
		case 14:
			run.Outcome, run.UploadedBytes, run.FilesBytes, run.PauseSeconds, run.Node, run.RawBytes = status.Postponed, 0, 0, 0, "", 0
		}
		f.Runs[archive] = append(f.Runs[archive], run)
	}
	return f
}

func TestReport(t *testing.T) {
	r := status.NewReport(reportFacts(), november, evening)
	asHTML, err := r.HTML()
	must(t, err)
	all := text(t, asHTML)
	// 7200 probes of the 25 days of November until now, at each location that was there.
	contains(t, all, "98.99 % up in November 2026", "The objective of 99 % was missed in 1 of 3 cases. The month is not over: this is as of 25 November 2026, 20:30 UTC.",
		"d111111abcdef8.cloudfront.net 97.19 % up, objective missed polkadot-rocksdb-archive",
		"polkadot-rocksdb-archive https://d111111abcdef8.cloudfront.net 97.19 % missed 7,200 202",
		"polkadot-rocksdb-archive https://snapshots.example.org 100 % met 7,200 0",
		"polkadot-paritydb-prune s3://qsync-raw?region=us-east-1&requester-pays=true 100 % met 5,760 0",
		"31 October 2026, 21:00 UTC 1 November 2026, 02:00 UTC polkadot-rocksdb-archive https://d111111abcdef8.cloudfront.net server answered 503 Service Unavailable 2 h",
		"25 November 2026, 19:30 UTC lasts polkadot-paritydb-prune s3://qsync-raw dial tcp 10.1.2.3:443: connect: connection refused 1 h",
		"E2QWRUHEXAMPLE 25 November 2026, 18:30 UTC 12 TB $1049.38 serve 7 B",
		"polkadot-rocksdb-archive 22 published, 2 failed, 1 postponed 22 TiB",
		"503 GiB 66 ms 120 ms polkadot-paritydb-prune none 0 B 0 B",
		"Uploaded by day: at most 35 GiB, on 25 November.", "Longest pause by day: at most 120 ms, on 25 November.",
		"5 November 2026, 00:00 UTC agent v0.1.0 v0.2.0", "configuration sha256:abababababab… sha256:cdcdcdcdcdcd…",
		"10 November 2026, 04:00 UTC node of polkadot-rocksdb-archive Parity Polkadot 1.20.0 Parity Polkadot 1.20.1")
	if strings.Contains(all, "in October") || strings.Contains(all, "29 October") {
		t.Error("it tells what was before")
	}
	if first := r.Incidents[0]; first.Seconds != 7200 || !first.End.Equal(november.Add(2*time.Hour)) {
		t.Errorf("%+v", first)
	}
	checkElements(t, asHTML)

	// The month after that is over, and October.
	r = status.NewReport(reportFacts(), november, evening.AddDate(0, 2, 0))
	if !r.To.Equal(november.AddDate(0, 1, 0)) || len(r.Locations[0].Days.Probes) != 30 {
		t.Errorf("to %s, %d days", r.To, len(r.Locations[0].Days.Probes))
	}
	r = status.NewReport(reportFacts(), november.AddDate(0, -1, 0), evening)
	if got := *r.Locations[0].Uptime; r.Locations[0].Probes != 31*288 || r.Locations[0].Failed != 288 || got != 1-1./31 {
		t.Errorf("October: %d probes, %f", r.Locations[0].Probes, got)
	}
	if r.Locations[2].Uptime != nil || r.Locations[2].Met != nil {
		t.Errorf("not probed, and %+v", r.Locations[2])
	}
}

// TestReportOfNothing: months without probes, runs and quotas say so.
func TestReportOfNothing(t *testing.T) {
	r := status.NewReport(status.ReportFacts{Publisher: "p", Channels: []string{"demo-files"}}, november, evening.AddDate(0, 1, 0))
	want := `# p: Not probed in November 2026

Made on 25 December 2026, 20:30 UTC.

## Uptime

Nothing was probed.

## Incidents

None.

## Delivered

No quota is watched, so what was delivered is not known.

## Runs

| Channel | Runs | Published | Uploaded | Median pause | Longest pause |
| --- | --- | ---: | ---: | ---: | ---: |
| demo-files | none | 0 B | 0 B |  |  |

## Changes

None that the agent has noticed.
`
	if diff := cmp.Diff(want, string(r.Markdown())); diff != "" {
		t.Error(diff)
	}
	asHTML, err := r.HTML()
	must(t, err)
	contains(t, text(t, asHTML), "Not probed in November 2026", "Nothing was probed.")
	asJSON, err := r.JSON()
	must(t, err)
	contains(t, string(asJSON), `{"format":1,"publisher":"p","from":"2026-11-01T00:00:00Z","to":"2026-12-01T00:00:00Z"`, `"locations":[],"incidents":[],"volumes":[]`)
}

// TestReportOfNow: what began in the second in which the report is made is in it.
func TestReportOfNow(t *testing.T) {
	f := reportFacts()
	now := evening.Add(900 * time.Millisecond)
	f.Runs["polkadot-paritydb-prune"] = []status.Run{{Start: now.Add(-time.Millisecond), Outcome: status.Published}}
	f.Incidents = []status.Incident{{Channel: "a", Location: "b", Start: now.Add(-time.Millisecond)}}
	f.Changes = []status.Change{{At: now.Add(-time.Millisecond), What: status.ChangeAgent, To: "now"}}
	r := status.NewReport(f, november, now)
	if len(r.Incidents) != 1 || r.Incidents[0].Seconds != 0 || r.Channels[1].Outcomes[status.Published] != 1 || r.Changes[len(r.Changes)-1].To != "now" {
		t.Errorf("%+v\n%+v\n%+v", r.Incidents, r.Channels[1], r.Changes)
	}
}

// TestReportOfManyRuns: a month whose first runs are on record no more says so.
func TestReportOfManyRuns(t *testing.T) {
	f := status.ReportFacts{Channels: []string{"a"}, Runs: map[string][]status.Run{}}
	for i := range 1000 {
		f.Runs["a"] = append(f.Runs["a"], status.Run{Start: evening.Add(-time.Duration(i+1) * 10 * time.Minute), Outcome: status.Lost})
	}
	contains(t, string(status.NewReport(f, november, evening).Markdown()), "| a | 1000 lost |", "Of a only the last 1,000 runs are on record: the month had more.")
}

// TestReportIsEscaped: what servers say is a text, in both forms.
func TestReportIsEscaped(t *testing.T) {
	const markdown = "| a |\n# b [c](http://d) <img src=x> `e` @f"
	f := reportFacts()
	f.Incidents[0].Cause, f.Incidents[1].Cause, f.Volumes[0].Name, f.Changes[1].To = hostile, markdown, hostile, markdown
	f.Locations[0].Last.Location, f.Runs[f.Channels[0]][0].Node = hostile, hostile
	r := status.NewReport(f, november, evening)
	asHTML, err := r.HTML()
	must(t, err)
	checkElements(t, asHTML)
	got := string(r.Markdown())
	contains(t, got, `\| a \| \# b \[c\](http://d) &lt;img src=x&gt; \`+"`e\\`"+` &#64;f`, `"&gt;&lt;script&gt;alert(1)`)
	for line := range strings.Lines(got) {
		if strings.Contains(line, "<") || strings.HasPrefix(line, "# b") {
			t.Errorf("%q", line)
		}
	}
}

func TestReportJSON(t *testing.T) {
	r := status.NewReport(reportFacts(), november, evening)
	asJSON, err := r.JSON()
	must(t, err)
	var back status.Report
	must(t, json.Unmarshal(asJSON, &back))
	again, err := back.JSON()
	must(t, err)
	if !bytes.Equal(asJSON, again) {
		t.Errorf("%s\n%s", asJSON, again)
	}
}

func TestChanges(t *testing.T) {
	c := status.ChangesIn(t.TempDir())
	note := func(day int, what, is string) {
		t.Helper()
		must(t, c.Note(november.AddDate(0, 0, day), what, is))
	}
	between := func(from, to int, want ...string) {
		t.Helper()
		all, err := c.Between(november.AddDate(0, 0, from), november.AddDate(0, 0, to))
		must(t, err)
		var got []string
		for _, c := range all {
			got = append(got, fmt.Sprintf("%s %s %q %s", c.At.Format("2 Jan"), c.What, c.From, c.To))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	between(-1000, 1000)
	note(0, "agent", "1")
	note(0, "configuration", "a")
	note(1, "agent", "1")
	note(2, "agent", "2")
	note(3, "agent", "1")
	between(0, 3, `1 Nov agent "" 1`, `1 Nov configuration "" a`, `3 Nov agent "1" 2`)
	// What is old goes when there is something new, but for how everything is.
	note(403, "agent", "3")
	between(-1000, 1000, `1 Nov configuration "" a`, `4 Nov agent "2" 1`, `9 Dec agent "1" 3`)
	note(404, "configuration", "a")
	between(404, 1000)
}
