package agent

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/quota"
	"github.com/qsync/qsync/publish/status"
)

const edge = "https://edge.example.org"

// TestStatusPage has an agent publish the page while it publishes a channel, and a
// location go down and up again.
func TestStatusPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := configuration(t, "", `schedule: "0 4 * * *"`)
		base, state := filepath.Join(filepath.Dir(file), "out"), filepath.Join(filepath.Dir(file), "state")
		page := func() string {
			t.Helper()
			synctest.Wait()
			body, err := os.ReadFile(filepath.Join(base, publish.StatusPageKey))
			must(t, err)
			return string(body)
		}
		written := func() time.Time {
			t.Helper()
			synctest.Wait()
			info, err := os.Stat(filepath.Join(base, publish.StatusKey))
			must(t, err)
			return info.ModTime()
		}
		says := func(wanted string) {
			t.Helper()
			if got := page(); !strings.Contains(got, wanted) {
				_, got, _ = strings.Cut(got, "</style>")
				t.Errorf("at %s %q is not on the page:\n%s", clock(), wanted, got)
			}
		}
		probe := func(err string) {
			t.Helper()
			must(t, status.ProbesIn(state).Note(status.Probe{Channel: demo, Location: edge, At: clock(), Error: err}))
		}
		l := begin(t, file).start()
		defer func() { l.stop() }()
		says("Not checked yet")
		says("Nothing is published yet.")
		// Nothing new is not written again, before the page is an hour old.
		first := written()
		time.Sleep(55 * time.Minute)
		if !written().Equal(first) {
			t.Error("a page that says the same was written again")
		}
		time.Sleep(10 * time.Minute)
		if written().Equal(first) {
			t.Error("the page is older than an hour")
		}
		time.Sleep(3*time.Hour + time.Minute) // the run is at 4:00
		says(l.runs()[0].Version)
		probe("")
		time.Sleep(pageInterval)
		says("Everything is up")
		probe("dial tcp 10.1.2.3:443: connect: connection refused")
		time.Sleep(pageInterval)
		says("Everything is down")
		says("It could not be reached.")
		if strings.Contains(page(), "10.1.2.3") {
			t.Error("the page says what is inside")
		}
		probe("")
		time.Sleep(pageInterval)
		says("Everything is up")
		says("edge.example.org")

		// A target that is gone is told of once, and has the page again when it is back.
		must(t, os.Rename(base, base+".away"))
		must(t, os.WriteFile(base, nil, 0o644))
		probe("timeout")
		time.Sleep(3 * pageInterval)
		synctest.Wait()
		must(t, os.Remove(base))
		must(t, os.Rename(base+".away", base))
		time.Sleep(pageInterval)
		says("It did not answer in time.")
		for text, want := range map[string]int{"the status page cannot be published": 1, "the status page is published again": 1} {
			if n := strings.Count(l.log.String(), text); n != want {
				t.Errorf("%d times %q:\n%s", n, text, l.log.String())
			}
		}

		// Nobody prunes it, and without it a configuration publishes none.
		cfg, err := config.LoadAgent(file)
		must(t, err)
		p, err := NewPublisher(cfg, nil)
		must(t, err)
		time.Sleep(24 * time.Hour)
		l.stop()
		p.Now = func() time.Time { return time.Now().AddDate(1, 0, 0) }
		_, err = p.Prune(t.Context(), map[string]publish.Keep{demo: {Versions: 1}}, time.Hour, false)
		must(t, err)
		says("Not checked lately")
		must(t, os.RemoveAll(filepath.Join(base, "status")))
		rewrite(t, file, "status_page: false", "")
		l = begin(t, file).start()
		time.Sleep(2 * pageInterval)
		synctest.Wait()
		if _, err := os.Stat(filepath.Join(base, "status")); err == nil {
			t.Error("a page is published that nobody wants")
		}

		changes, err := status.ChangesIn(state).Between(time.Time{}, clock().Add(time.Hour))
		must(t, err)
		if len(changes) != 3 || changes[0].What+changes[1].What+changes[2].What != "agentconfigurationconfiguration" || changes[1].To == changes[2].To || changes[1].To != changes[2].From {
			t.Errorf("%+v", changes)
		}
	})
}

func TestPageTargets(t *testing.T) {
	cfg := &config.Agent{StatusPage: true, Targets: []config.Target{
		{Dir: &config.DirTarget{Path: "/srv/qsync"}}, {S3: &config.S3Target{Bucket: "raw", RequesterPays: true}}, {S3: &config.S3Target{Bucket: "edge"}},
	}}
	if got := fmt.Sprint(pageTargets(cfg)); got != "[/srv/qsync s3://edge]" || len(cfg.Targets) != 3 {
		t.Error(got)
	}
	cfg.StatusPage = false
	if got := pageTargets(cfg); len(got) > 0 {
		t.Error(got)
	}
}

func TestStatusHandler(t *testing.T) {
	cfg := &config.Agent{Publisher: "snapshots.example.org", State: t.TempDir(), Channels: []config.Channel{{Name: demo, Chain: "demo"}}}
	now := clock()
	must(t, status.ProbesIn(cfg.State).Note(status.Probe{Channel: demo, Location: edge, At: now}))
	log := &bytes.Buffer{}
	server := httptest.NewServer(StatusHandler(cfg, slog.New(slog.NewTextHandler(log, nil))))
	defer server.Close()
	get := func(method, path string, wantStatus int) (http.Header, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		must(t, err)
		answer, err := server.Client().Do(request)
		must(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		must(t, err)
		if answer.StatusCode != wantStatus {
			t.Errorf("%s %s: %s", method, path, answer.Status)
		}
		return answer.Header, string(body)
	}
	header, body := get(http.MethodGet, "/", http.StatusOK)
	if !strings.Contains(body, "Everything is up") || header.Get("Content-Type") != "text/html; charset=utf-8" ||
		header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Content-Security-Policy") != "frame-ancestors 'none'" || header.Get("Cache-Control") != "public, max-age=30" {
		t.Errorf("%v\n%s", header, body)
	}
	header, body = get(http.MethodGet, "/status.json", http.StatusOK)
	if !strings.HasPrefix(body, `{"format":1,"publisher":"snapshots.example.org",`) || header.Get("Content-Type") != "application/json" {
		t.Errorf("%v\n%s", header, body)
	}
	if _, body := get(http.MethodHead, "/", http.StatusOK); body != "" {
		t.Error(body)
	}
	get(http.MethodPost, "/", http.StatusMethodNotAllowed)
	get(http.MethodGet, "/state", http.StatusNotFound)

	// A record that is broken is told to those who run the agent, and to nobody else.
	must(t, os.WriteFile(status.ProbesIn(cfg.State).File(), []byte("broken"), 0o644))
	get(http.MethodGet, "/", http.StatusOK) // as it was a moment ago
	if log.Len() > 0 {
		t.Error(log)
	}
	other := httptest.NewServer(StatusHandler(cfg, slog.New(slog.NewTextHandler(log, nil))))
	defer other.Close()
	server = other
	if _, body := get(http.MethodGet, "/", http.StatusInternalServerError); strings.Contains(body, cfg.State) || !strings.Contains(log.String(), "probes.db is broken") {
		t.Errorf("%s\n%s", body, log)
	}
}

// TestReport puts together what is on record.
func TestReport(t *testing.T) {
	cfg := &config.Agent{Publisher: "snapshots.example.org", State: t.TempDir(), Channels: []config.Channel{{Name: demo}}}
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	month := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	run, err := status.RunsIn(cfg.State).Start(status.Run{Channel: "former-files", Start: at, Node: "geth 1.17.5"})
	must(t, err)
	run.Outcome = status.Failed
	must(t, status.RunsIn(cfg.State).End(run))
	for i, failure := range []string{"", "no answer", ""} {
		must(t, status.ProbesIn(cfg.State).Note(status.Probe{Channel: demo, Location: edge, At: at.Add(time.Duration(i) * time.Minute), Error: failure}))
	}
	must(t, status.ChangesIn(cfg.State).Note(at, status.ChangeAgent, "v0.1.0"))
	must(t, alarm.In(cfg.State).Update(func(tx *alarm.Tx) error {
		for name, bytes := range map[string]int64{"quota/E2QWRUHEXAMPLE/2026-11": 12e12, "quota/E2QWRUHEXAMPLE/2026-10": 5, "quota/my-logs/edge/2026-11": 7} {
			if err := tx.SetMark(name, quota.Month{Bytes: bytes, USD: 1020}); err != nil {
				return err
			}
		}
		return nil
	}))
	r, err := NewReport(cfg, month, at.Add(time.Hour))
	must(t, err)
	got := string(r.Markdown())
	for _, want := range []string{
		"# snapshots.example.org: 66.66 % up in November 2026", "| demo-files | https://edge.example.org | 66.66 % | missed | 3 | 1 |",
		"| no answer | 1 min |", "| E2QWRUHEXAMPLE |  | 12 TB | $1020.00 |", "| my-logs/edge |  | 7 B |", "| demo-files | none |", "| former-files | 1 failed |",
		"| agent |  | v0.1.0 |", "| node of former-files |  | geth 1.17.5 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
	if strings.Contains(got, "| 5 B |") {
		t.Error(got)
	}
}
