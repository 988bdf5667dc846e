package monitoring_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/qsync/qsync/scripts/require"
)

type rule struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	b, err := os.ReadFile("qsync.rules.yml")
	must(t, err)
	var file struct{ Groups []struct{ Rules []rule } }
	must(t, yaml.Unmarshal(b, &file))
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// TestRules: each alert waits, says how bad it is, what is wrong and what to do, asks for
// metrics that there are, and is tried where it must fire and where it must not.
func TestRules(t *testing.T) {
	promtool := require.Tool(t, "promtool")
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "rules", "qsync.rules.yml"}, {"test", "rules", "qsync.rules.test.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	b, err := os.ReadFile("qsync.rules.test.yml")
	must(t, err)
	var tests struct {
		Tests []struct {
			Cases []struct {
				Alert string `yaml:"alertname"`
				Want  []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	must(t, yaml.Unmarshal(b, &tests))
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, c := range test.Cases {
			if len(c.Want) > 0 {
				fires[c.Alert] = true
			} else {
				silent[c.Alert] = true
			}
		}
	}
	known := metricTable(t)
	all := rules(t)
	if len(all) < 20 {
		t.Errorf("only %d rules", len(all))
	}
	for _, r := range all {
		if r.For == "" || !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) || r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 40 {
			t.Errorf("%+v lacks something", r)
		}
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s is tried where it fires: %v, where it does not: %v", r.Alert, fires[r.Alert], silent[r.Alert])
		}
		for _, name := range metricNames(r.Expr) {
			if known[name].kind == "" {
				t.Errorf("%s asks for %s, which is not in README.md", r.Alert, name)
			}
		}
	}
}

var metricName = regexp.MustCompile(`\b(?:qsync|process)_\w+`)

// metricNames are those of an expression, without what stands in its labels.
func metricNames(expr string) []string {
	return metricName.FindAllString(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(expr, `""`), -1)
}
