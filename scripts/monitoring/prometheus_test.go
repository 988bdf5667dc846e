package monitoring_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qsync/qsync/scripts/require"
)

// prometheus is a real one, which scrapes an agent.
type prometheus struct{ url string }

func startPrometheus(t *testing.T, a *agent) *prometheus {
	t.Helper()
	program := require.Tool(t, "prometheus")
	dir := t.TempDir()
	here, err := os.Getwd()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), fmt.Appendf(nil, `
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs: [{job_name: qsync, static_configs: [{targets: [%q]}]}]
`, filepath.Join(here, "qsync.rules.yml"), strings.TrimPrefix(a.url, "http://")), 0o644))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	cmd := exec.Command(program, "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := &prometheus{"http://" + address}
	eventually(t, "Prometheus is ready", func() bool {
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// get asks its API.
func (p *prometheus) get(t *testing.T, path string, data any) {
	t.Helper()
	resp, err := http.Get(p.url + "/api/v1/" + path)
	must(t, err)
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	must(t, json.NewDecoder(resp.Body).Decode(&answer))
	if answer.Status != "success" {
		t.Errorf("%s: %s", path, answer.Error)
	}
}

// series is how many a query has now.
func (p *prometheus) series(t *testing.T, query string) int {
	t.Helper()
	var data struct{ Result []any }
	p.get(t, "query?query="+url.QueryEscape(query), &data)
	return len(data.Result)
}

// TestAgent has a real agent, with a node that writes, a mail server, a quota and a node of
// IPFS, watched by a real Prometheus: each metric is as the table says, each query of the
// dashboard has an answer, each rule can be evaluated, and no alert is a false one. Its log
// is as LOGS.md says.
func TestAgent(t *testing.T) {
	a := startAgent(t)
	checkMetrics(t, a.scrape(t))
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := a.get(t, path); code != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	p := startPrometheus(t, a)
	d := loadDashboard(t)
	for _, q := range d.queries() {
		if strings.Contains(q, limitMetric) {
			continue
		}
		eventually(t, "an answer to "+q, func() bool { return p.series(t, q) > 0 })
	}
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, State, LastError string }
		}
	}
	eventually(t, "all rules are evaluated", func() bool {
		p.get(t, "rules", &data)
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if r.Health == "unknown" {
					return false
				}
			}
		}
		return len(data.Groups) > 0
	})
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			// A run is made every two seconds here, and one may be under way.
			if r.Health != "ok" || r.State != "inactive" && r.Name != "QsyncRunLong" {
				t.Errorf("%s: %s, %s: %s", r.Name, r.Health, r.State, r.LastError)
			}
		}
	}
	eventually(t, "old versions are dropped", func() bool { return strings.Contains(a.said(t), `"msg":"dropped"`) })
	a.stop(t)
	checkLog(t, a.said(t))
}
