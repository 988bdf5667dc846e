package agent

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/status"
)

func kinds(all []alarm.Condition) string {
	text := ""
	for _, c := range all {
		text += fmt.Sprintf("%s %s: %s\n", c.Kind, c.Subject, c.Text)
	}
	return text
}

func TestChannelConditions(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	cfg := &config.Agent{HeadTTL: config.Duration(3 * 24 * time.Hour)}
	run := func(o status.Outcome) status.Run { return status.Run{ID: 7, Start: now, Outcome: o, Error: "no space"} }
	for _, c := range []struct {
		name    string
		channel Channel
		want    string
	}{
		{"well", Channel{Runs: []status.Run{run(status.Published)}, Node: NodeHealth{State: "healthy"}, Head: &Head{Expires: now.Add(48 * time.Hour)}}, ""},
		{"new", Channel{Node: NodeHealth{State: "unknown"}}, ""},
		{"failed", Channel{Runs: []status.Run{run(status.Failed), run(status.Published)}}, "run demo: run 7 of 2026-11-25 12:00 UTC has failed: no space\n"},
		{"tried again", Channel{Runs: []status.Run{run(status.Running), run(status.Failed)}}, "run demo: run 7 of 2026-11-25 12:00 UTC has failed: no space\n"},
		{"told to stop since", Channel{Runs: []status.Run{run(status.Interrupted), run(status.Failed)}}, "run demo: run 7 of 2026-11-25 12:00 UTC has failed: no space\n"},
		{"well again", Channel{Runs: []status.Run{run(status.Published), run(status.Failed)}}, ""},
		{"ill", Channel{Node: NodeHealth{State: "unhealthy", Detail: "it has no peers"}}, "node demo: the node is not fit to be published from: it has no peers\n"},
		{"late", Channel{Head: &Head{Expires: now.Add(23 * time.Hour)}}, "head demo: the head expires at 2026-11-26 11:00 UTC, and is not renewed\n"},
		{"too late", Channel{Head: &Head{Expires: now}}, "head demo: the head has expired at 2026-11-25 12:00 UTC: nobody accepts it\n"},
	} {
		c.channel.Name = "demo"
		if got := kinds(channelConditions(cfg, &c.channel, now)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDiskConditions(t *testing.T) {
	got := kinds(diskConditions([]Disk{
		{"/small", "state", 4 << 30, 100 << 30}, {"/fine", "target", 6 << 30, 100 << 30}, {"/large", "target", 200 << 30, 8000 << 30},
	}))
	if want := "disk /small: the disk of the state is nearly full: 4.0 % are free\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLocationConditions: a location is told once, whatever channels it is about.
func TestLocationConditions(t *testing.T) {
	var seen []status.Location
	for i := range 8 {
		channel := fmt.Sprintf("c%d", i)
		for location, down := range map[string]bool{"cdn": true, "raw": i == 3, "some": i != 3, "well": false} {
			l := status.Location{Last: status.Probe{Channel: channel, Location: location}}
			if down {
				l.Last.Error = "no answer to " + channel
			}
			seen = append(seen, l)
		}
	}
	want := `location cdn: nobody can fetch any of 8 channels from there: no answer to c0
location raw: nobody can fetch c3 from there: no answer to c3
location some: nobody can fetch c0, c1, c2, c4, c5 and 2 more of 8 channels from there: no answer to c0
`
	if got := kinds(locationConditions(seen)); got != want {
		t.Error(got)
	}
	if got := locationConditions(nil); got != nil {
		t.Error(got)
	}
}

// TestTargetConditions: a target with nothing in it is well, one that is a file is
// not, nor a store that nobody listens at.
func TestTargetConditions(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
	got := kinds(targetConditions(reach(t.Context(), []config.Target{
		{Dir: &config.DirTarget{Path: filepath.Join(dir, "out")}}, {Dir: &config.DirTarget{Path: file}},
		{S3: &config.S3Target{Bucket: "b", Region: "us-east-1", Endpoint: server.URL}},
	})))
	if strings.Contains(got, "/out:") || !strings.Contains(got, "target "+file+": the target does not answer: ") || !strings.Contains(got, "target s3://b at "+strings.TrimPrefix(server.URL, "http://")+": the target does not answer: ") {
		t.Error(got)
	}
}

func TestQuietHours(t *testing.T) {
	if quietHours(&config.Agent{TimeZone: "UTC", Alarms: &config.Alarms{}}) != nil {
		t.Error("quiet where nothing is said")
	}
	quiet := quietHours(&config.Agent{TimeZone: "Europe/Berlin", Alarms: &config.Alarms{Quiet: config.Hours{From: 22 * time.Hour, To: 7 * time.Hour}}})
	for at, want := range map[string]bool{"2026-11-25T20:59:00Z": false, "2026-11-25T21:00:00Z": true, "2026-07-01T20:00:00Z": true, "2026-07-01T05:00:00Z": false} {
		moment, err := time.Parse(time.RFC3339, at)
		must(t, err)
		if quiet(moment) != want {
			t.Errorf("%s is quiet: %v", at, !want)
		}
	}
}

// TestPing does not say where it asks.
func TestPing(t *testing.T) {
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	must(t, pingOnce(t.Context(), server.URL+"/hunter2"))
	code = http.StatusNotFound
	if err := pingOnce(t.Context(), server.URL+"/hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v", err)
	}
	server.Close()
	if err := pingOnce(t.Context(), server.URL+"/hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}
