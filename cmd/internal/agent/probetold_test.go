package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/alarm/mailtest"
	"github.com/qsync/qsync/publish/status"
)

// agentOf is what makes the test an agent with that configuration: it must trust a mail
// server of a test, which a process can be told only when it starts.
const agentOf = "QSYNC_TEST_AGENT"

// toldInterval is the interval of its probes. A configuration must have a longer one.
const toldInterval = 4 * time.Second

var answering = regexp.MustCompile(`msg="the agent answers over HTTP" listen=(\S+)`)

// TestProbeTold takes a location down, and up again: within two intervals of the probe it
// is on record, in the status, in a mail, in the metrics, and on the page that is served and
// that is published.
func TestProbeTold(t *testing.T) {
	if file := os.Getenv(agentOf); file != "" {
		runAgent(t, file)
		return
	}
	p := publishTo(t, "[{dir: {path: out}}]", 2<<20)
	web := newWebsite(t, filepath.Join(p.dir, "out"))
	mails, err := mailtest.Start(p.dir, mailtest.Options{})
	must(t, err)
	t.Cleanup(mails.Close)
	must(t, os.WriteFile(filepath.Join(p.dir, "smtp"), []byte(mailtest.Password+"\n"), 0o600))
	cfg := p.configure(fmt.Sprintf("[{dir: {path: out}, url: %q}]", web.url), fmt.Sprintf(
		`listen: 127.0.0.1:0
alarms: {mail: {smtp: {host: 127.0.0.1, port: %d, user: %s, password_file: smtp}, from: qsync@example.org, to: [ops@example.org]}}`, mails.Port, mailtest.User))

	agent := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	agent.Env = append(os.Environ(), agentOf+"="+p.file, "SSL_CERT_FILE="+mails.CAFile)
	var log lines
	agent.Stdout, agent.Stderr = &log, &log
	must(t, agent.Start())
	t.Cleanup(func() {
		_ = agent.Process.Signal(syscall.SIGTERM)
		if err := agent.Wait(); err != nil || t.Failed() {
			t.Errorf("the agent: %v\n%s", err, log.String())
		}
	})
	record := status.ProbesIn(cfg.State)
	seen := func(up bool) func() bool {
		return func() bool {
			all, err := record.Locations()
			must(t, err)
			return len(all) == 1 && all[0].Last.OK() == up
		}
	}
	mailed := func(subject string) func() bool {
		return func() bool {
			for _, m := range mails.Mails() {
				if strings.HasPrefix(m.Subject, subject) {
					return true
				}
			}
			return false
		}
	}
	own := ""
	eventually(t, "the agent answers", func() bool {
		m := answering.FindStringSubmatch(log.String())
		if m != nil {
			own = "http://" + m[1]
		}
		return m != nil
	})
	metric := func(up bool) func() bool {
		line := fmt.Sprintf("\nqsync_location_up{channel=%q,location=%q} %v\n", demo, web.url, truth(up))
		return func() bool {
			_, body := get(own + "/metrics")
			return strings.Contains(body, line)
		}
	}
	says := func(page []byte, up bool) bool {
		var got status.Page
		must(t, json.Unmarshal(page, &got))
		want := map[bool]status.State{true: status.Up, false: status.Down}[up]
		return got.State == want && len(got.Channels) == 1 && len(got.Channels[0].Locations) == 1 && got.Channels[0].Locations[0].State == want
	}
	served := func(up bool) func() bool {
		return func() bool {
			_, body := get(own + "/status.json")
			return says([]byte(body), up)
		}
	}
	paged := func(up bool) func() bool {
		return func() bool {
			page, err := os.ReadFile(filepath.Join(p.dir, "out", publish.StatusKey))
			return err == nil && says(page, up)
		}
	}
	took := func(what string, since time.Time, ok func() bool) {
		t.Helper()
		for !ok() {
			if time.Since(since) > time.Minute {
				t.Fatalf("%s: not within a minute", what)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if took := time.Since(since); what != "" && took > 2*toldInterval {
			t.Errorf("%s after %s, which is more than two intervals of %s", what, took, toldInterval)
		} else {
			t.Logf("%s after %s", what, took)
		}
	}
	overview := func() *Channel {
		o, err := Look(t.Context(), cfg, nil)
		must(t, err)
		return o.Channels[0]
	}
	took("", time.Now(), seen(true))
	took("", time.Now(), served(true)) // which is kept for those who ask again

	web.stop()
	at := time.Now()
	took("seen", at, seen(false))
	took("told", at, mailed("[qsync] "+web.url+": nobody can fetch demo-files from there: head demo-files from "+web.url))
	took("served", at, served(false))
	took("published", at, paged(false))
	took("measured", at, metric(false))
	if c := overview(); c.OK || len(c.Locations) != 1 || c.Locations[0].OK || !strings.Contains(strings.Join(c.Problems, "\n"), "down since ") {
		t.Errorf("%+v", c)
	}
	web.start()
	at = time.Now()
	took("seen again", at, seen(true))
	took("told again", at, mailed("[qsync] recovered: "+web.url))
	took("served again", at, served(true))
	took("published again", at, paged(true))
	took("measured again", at, metric(true))
	if c := overview(); len(c.Locations) != 1 || !c.Locations[0].OK {
		t.Errorf("%+v", c)
	}
	if n := len(mails.Mails()); n != 2 {
		t.Errorf("%d mails", n)
	}
	incidents, err := record.Incidents(time.Time{})
	if err != nil || len(incidents) != 1 || incidents[0].End.IsZero() || !strings.Contains(incidents[0].Cause, "connection refused") {
		t.Errorf("%+v, %v", incidents, err)
	}
}

// runAgent is the agent, until it is told to end.
func runAgent(t *testing.T, file string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	a := &Agent{
		Load: func() (*config.Agent, error) {
			cfg, err := config.LoadAgent(file)
			if err == nil {
				cfg.Probe.Interval = config.Duration(toldInterval)
			}
			return cfg, err
		},
		Preflight: NewPreflight,
		Log:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	must(t, a.Run(ctx, nil))
}
