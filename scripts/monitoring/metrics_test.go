package monitoring_test

import (
	"cmp"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/qsync/qsync/scripts/require"
)

// family is a metric as README.md has it, and as it is scraped.
type family struct{ kind, labels, help string }

var (
	metricRow = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\|$")
	label     = regexp.MustCompile(`(\w+)="`)
)

// metricTable are the metrics of README.md.
func metricTable(t *testing.T) map[string]family {
	t.Helper()
	page, err := os.ReadFile("README.md")
	must(t, err)
	all := map[string]family{}
	for _, m := range metricRow.FindAllStringSubmatch(string(page), -1) {
		name, unit := m[1], m[3]
		if _, twice := all[name]; twice {
			t.Errorf("%s stands in the table twice", name)
		}
		all[name] = family{m[2], m[4], m[5]}
		if want := unitOf(name); want != "" && unit != want {
			t.Errorf("%s is in %s, says the table; its name says %s", name, unit, want)
		}
	}
	return all
}

// unitOf is what the end of a name says.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for _, u := range []struct{ end, unit string }{
		{"_timestamp_seconds", "Unix time"}, {"_start_time_seconds", "Unix time"}, {"_bytes_per_second", "bytes/s"}, {"_seconds", "seconds"},
		{"_bytes", "bytes"}, {"_dollars", "US dollars"}, {"_ratio", "0 to 1"}, {"_up", "0 or 1"}, {"_success", "0 or 1"},
	} {
		if strings.HasSuffix(name, u.end) {
			return u.unit
		}
	}
	return ""
}

// scraped are the metrics of a scrape.
func scraped(text string) map[string]family {
	all := map[string]family{}
	labels := map[string]map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.SplitN(line, " ", 4)
		switch {
		case strings.HasPrefix(line, "# HELP "):
			f := all[words[2]]
			f.help = words[3]
			all[words[2]] = f
		case strings.HasPrefix(line, "# TYPE "):
			f := all[words[2]]
			f.kind = words[3]
			all[words[2]] = f
		default:
			name, rest, _ := strings.Cut(words[0], "{")
			if labels[name] == nil {
				labels[name] = map[string]bool{}
			}
			for _, m := range label.FindAllStringSubmatch(rest, -1) {
				labels[name][m[1]] = true
			}
		}
	}
	for name, f := range all {
		f.labels = cmp.Or(strings.Join(slices.Sorted(maps.Keys(labels[name])), ", "), "—")
		all[name] = f
	}
	return all
}

// limitMetric is not of the agent here: a limit needs a distribution before a bucket. The
// package agent has one that is scraped.
const limitMetric = "qsync_quota_limit_bytes"

// checkMetrics compares the table of README.md with a scrape, and has Prometheus's own
// linter look at it.
func checkMetrics(t *testing.T, scrape string) {
	t.Helper()
	table, is := metricTable(t), scraped(scrape)
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if table[name] != is[name] {
			t.Errorf("README.md has %s as %+v, and the agent as %+v", name, table[name], is[name])
		}
	}
	for name := range table {
		if _, ok := is[name]; !ok && name != limitMetric {
			t.Errorf("README.md has %s, and the agent does not", name)
		}
	}
	lint := exec.Command(require.Tool(t, "promtool"), "check", "metrics")
	lint.Stdin = strings.NewReader(scrape)
	if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
