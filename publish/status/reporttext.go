package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What a report says, in the words and tables that its forms share.

// sheet is a table: its first column names the rows.
type sheet struct {
	title   string // what it is about
	empty   string // what there is to say if there are no rows
	columns []string
	numbers int // so many columns at the end are numbers
	rows    [][]string
	notes   []string
}

func (r *Report) month() string { return r.From.Format("January 2006") }

// headline is how the month was, in words.
func (r *Report) headline() string {
	up := r.uptime()
	if up == nil {
		return "Not probed in " + r.month()
	}
	return percent(*up) + " up in " + r.month()
}

// about says what the headline is about.
func (r *Report) about() string {
	about := ""
	if missed := slices.DeleteFunc(slices.Clone(r.Locations), func(l ReportLocation) bool { return l.Met == nil || *l.Met }); len(missed) > 0 {
		about = fmt.Sprintf("The objective of %s was missed in %d of %s. ", percent(r.Objective), len(missed), count(len(r.Locations), "case"))
	} else if r.uptime() != nil {
		about = fmt.Sprintf("The objective of %s was met everywhere. ", percent(r.Objective))
	}
	if r.partial() {
		return about + "The month is not over: this is as of " + moment(r.Generated) + "."
	}
	return about + "Made on " + moment(r.Generated) + "."
}

func (r *Report) partial() bool { return r.To.Before(r.From.AddDate(0, 1, 0)) }

func (r *Report) sheets() []sheet {
	return []sheet{r.uptimes(), r.incidents(), r.volumes(), r.runs(), r.changes()}
}

func (r *Report) uptimes() sheet {
	s := sheet{
		title: "Uptime", empty: "Nothing was probed.",
		columns: []string{"Channel", "Location", "Uptime", "Objective", "Probes", "Failed"}, numbers: 2,
	}
	for _, l := range r.Locations {
		row := []string{l.Channel, l.Location, "not probed", "", "0", "0"}
		if l.Uptime != nil {
			row = []string{l.Channel, l.Location, percent(*l.Uptime), "met", number(int64(l.Probes)), number(int64(l.Failed))}
			if !*l.Met {
				row[3] = "missed"
			}
		}
		s.rows = append(s.rows, row)
	}
	return s
}

func (r *Report) incidents() sheet {
	s := sheet{title: "Incidents", empty: "None.", columns: []string{"Start", "End", "Channel", "Location", "Cause", "In this month"}, numbers: 1}
	for _, i := range r.Incidents {
		end := "lasts"
		if !i.End.IsZero() {
			end = moment(i.End)
		}
		s.rows = append(s.rows, []string{moment(i.Start), end, i.Channel, i.Location, i.Cause, span(time.Duration(i.Seconds) * time.Second)})
	}
	return s
}

func (r *Report) volumes() sheet {
	s := sheet{title: "Delivered", empty: "No quota is watched, so what was delivered is not known.", columns: []string{"By", "Known up to", "Volume", "About"}, numbers: 2}
	for _, v := range r.Volumes {
		known, cost := "", ""
		if !v.Known.IsZero() {
			known = moment(v.Known)
		}
		if v.USD > 0 {
			cost = fmt.Sprintf("$%.2f", v.USD)
		}
		s.rows = append(s.rows, []string{v.Name, known, decimal(v.Bytes), cost})
	}
	return s
}

// outcomes in the order in which they are told.
var outcomes = []Outcome{Published, Failed, Postponed, Lost, Interrupted, Running}

func (r *Report) runs() sheet {
	s := sheet{
		title: "Runs", empty: "No channel is configured.",
		columns: []string{"Channel", "Runs", "Published", "Uploaded", "Median pause", "Longest pause"}, numbers: 4,
	}
	for _, c := range r.Channels {
		var all []string
		for _, o := range outcomes {
			if n := c.Outcomes[o]; n > 0 {
				all = append(all, fmt.Sprintf("%d %s", n, o))
			}
		}
		if c.runs() == 0 {
			all = []string{"none"}
		}
		row := []string{c.Channel, strings.Join(all, ", "), size(c.PublishedBytes), size(c.UploadedBytes), "", ""}
		if c.Outcomes[Published] > 0 {
			row[4], row[5] = pause(c.MedianPause), pause(c.MaxPause)
		}
		s.rows = append(s.rows, row)
		if c.Incomplete {
			s.notes = append(s.notes, fmt.Sprintf("Of %s only the last %s runs are on record: the month had more.", c.Channel, number(maxRuns)))
		}
	}
	return s
}

func (r *Report) changes() sheet {
	s := sheet{title: "Changes", empty: "None that the agent has noticed.", columns: []string{"When", "What", "Before", "Since"}}
	for _, c := range r.Changes {
		s.rows = append(s.rows, []string{moment(c.At), c.What, brief(c.From), brief(c.To)})
	}
	return s
}

// brief shortens a digest to what tells it from others.
func brief(value string) string {
	const digest = len("sha256:") + 12
	if strings.HasPrefix(value, "sha256:") && len(value) > digest {
		return value[:digest] + "…"
	}
	return value
}

// Markdown is the report for people who read it as a text, or paste it somewhere.
func (r *Report) Markdown() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n%s\n", cell(r.Publisher), r.headline(), r.about())
	for _, s := range r.sheets() {
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		if len(s.rows) == 0 {
			fmt.Fprintf(&b, "%s\n", s.empty)
			continue
		}
		line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
		line(s.columns)
		rule := make([]string, len(s.columns))
		for i := range rule {
			if rule[i] = "---"; i >= len(rule)-s.numbers {
				rule[i] = "---:"
			}
		}
		line(rule)
		for _, row := range s.rows {
			cells := make([]string, len(row))
			for i := range row {
				cells[i] = cell(row[i])
			}
			line(cells)
		}
		for _, n := range s.notes {
			fmt.Fprintf(&b, "\n%s\n", cell(n))
		}
	}
	return []byte(b.String())
}

// markup is what means something in Markdown. Where people paste it, HTML and links
// work as well.
var markup = strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "`", "\\`", "*", `\*`, "_", `\_`,
	"[", `\[`, "]", `\]`, "#", `\#`, "~", `\~`, "!", `\!`, "@", "&#64;")

// cell is a text that means nothing but itself, on one line.
func cell(text string) string { return markup.Replace(strings.Join(strings.Fields(text), " ")) }
