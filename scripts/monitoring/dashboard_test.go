package monitoring_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// dashboard is what the tests want to know of one of Grafana's.
type dashboard struct {
	Title, UID string
	Panels     []panel
	Templating struct{ List []variable }
}

type variable struct {
	Name, Type string
	Query      any
	Datasource datasource
}

type datasource struct{ Type, UID string }

type panel struct {
	ID          int
	Type, Title string
	Datasource  datasource
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct {
		Expr       string
		RefID      string
		Datasource datasource
	}
	FieldConfig struct {
		Defaults struct{ Unit string }
	}
}

func loadDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	b, err := os.ReadFile("dashboard.json")
	must(t, err)
	must(t, json.Unmarshal(b, &d))
	return d
}

// queries are those of all panels, as Grafana sends them: without a choice of agents and
// channels, and for a screen that shows some minutes.
func (d *dashboard) queries() (all []string) {
	fill := strings.NewReplacer("$instance", ".*", "$channel", ".*", "$__rate_interval", "15s")
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, fill.Replace(q.Expr))
		}
	}
	return all
}

// TestDashboard: what Grafana would accept in silence and show wrong.
func TestDashboard(t *testing.T) {
	d := loadDashboard(t)
	var names []string
	prometheus := datasource{"prometheus", "${datasource}"}
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
		if v.Type == "query" && v.Datasource != prometheus {
			t.Errorf("variable %s asks %v", v.Name, v.Datasource)
		}
	}
	if !slices.Equal(names, []string{"datasource", "instance", "channel"}) || d.Templating.List[0].Type != "datasource" || d.Templating.List[0].Query != "prometheus" {
		t.Errorf("variables %v", names)
	}
	known := metricTable(t)
	shown := map[string]bool{}
	var rows []string
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("panel %q has the number %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, is := taken[at]; is || at[0] >= 24 {
					t.Errorf("panel %q lies on %q, or outside", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if p.FieldConfig.Defaults.Unit == "" || p.Datasource != prometheus || len(p.Targets) == 0 {
			t.Errorf("panel %q: unit %q, source %v, %d queries", p.Title, p.FieldConfig.Defaults.Unit, p.Datasource, len(p.Targets))
		}
		for _, q := range p.Targets {
			found := metricNames(q.Expr)
			if len(found) == 0 || q.Datasource != prometheus {
				t.Errorf("panel %q asks %v for %s", p.Title, q.Datasource, q.Expr)
			}
			if n := strings.Count(q.Expr, `instance=~"$instance"`); n != len(found) {
				t.Errorf("panel %q: %s is not of the chosen agents alone", p.Title, q.Expr)
			}
			for _, name := range found {
				shown[name] = true
				if known[name].kind == "" {
					t.Errorf("panel %q asks for %s, which is not in README.md", p.Title, name)
				}
				if (known[name].kind == "counter") != (strings.Contains(q.Expr, "rate(") || strings.Contains(q.Expr, "increase(")) {
					t.Errorf("panel %q: %s of a %s", p.Title, q.Expr, known[name].kind)
				}
			}
		}
	}
	if want := []string{"Service", "Channels", "Locations", "Cost", "Agent"}; !slices.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
	for name := range known {
		if strings.HasPrefix(name, "qsync_") && !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}
