package status

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/net/html"
)

// HTML is the report for people.
func (r *Report) HTML() ([]byte, error) {
	main := el("main")
	for _, s := range r.sheets() {
		section := el("section", attr{"aria-labelledby", "_" + s.title}, el("h2", attr{"id", "_" + s.title}, s.title))
		if s.title == "Uptime" {
			section.AppendChild(r.bars())
		}
		if len(s.rows) == 0 {
			section.AppendChild(el("p", class("soft"), s.empty))
		} else {
			section.AppendChild(s.table())
		}
		for _, n := range s.notes {
			section.AppendChild(el("p", class("soft"), n))
		}
		if s.title == "Runs" {
			r.charts(section)
		}
		main.AppendChild(section)
	}
	state := Unknown
	if up := r.uptime(); up != nil {
		if state = Up; *up < r.Objective {
			state = Down
		}
	}
	body := el("body",
		el("header", el("p", r.Publisher), el("h1", mark(state), r.headline()), el("p", r.about())),
		main,
		el("footer", class("small"), el("p", "Uptime is the share of probes that fetched as anybody does and found all well. A probe each few minutes does not see what "+
			"is shorter. Days and months are those of UTC; costs are list prices.")))
	var b bytes.Buffer
	err := write(&b, document(r.headline()+" · "+r.Publisher, icon(state), body))
	return b.Bytes(), err
}

// bars are the days of the month at each location.
func (r *Report) bars() *html.Node {
	all := el("ul", class("places"))
	for i := range r.Locations {
		l := &r.Locations[i]
		up, state := "not probed", Unknown
		if l.Uptime != nil {
			up, state = percent(*l.Uptime)+" up", Up
			if !*l.Met {
				up, state = up+", objective missed", Down
			}
		}
		all.AppendChild(el("li",
			el("div", class("row"), el("h3", l.Location), el("p", class("state "+string(state)), mark(state), up)),
			l.Days.bars(), el("p", class("small"), l.Channel)))
	}
	return all
}

// table can be scrolled sideways by itself, by the keyboard too.
func (s *sheet) table() *html.Node {
	head, body := el("tr"), el("tbody")
	align := func(i int) attr {
		if i >= len(s.columns)-s.numbers {
			return class("number")
		}
		return class("text")
	}
	for i, c := range s.columns {
		head.AppendChild(el("th", attr{"scope", "col"}, align(i), c))
	}
	for _, row := range s.rows {
		line := el("tr")
		for i, c := range row {
			if i == 0 {
				line.AppendChild(el("th", attr{"scope", "row"}, c))
				continue
			}
			line.AppendChild(el("td", align(i), c))
		}
		body.AppendChild(line)
	}
	return el("div", class("table"), attr{"role", "region"}, attr{"tabindex", "0"}, attr{"aria-label", s.title + ", table"},
		el("table", el("thead", head), body))
}

// charts are how much was uploaded each day, and how long nodes stood still.
func (r *Report) charts(section *html.Node) {
	if len(r.Channels) == 0 {
		return
	}
	days := len(r.Channels[0].UploadedByDay)
	uploaded, pauses := make([]float64, days), make([]float64, days)
	for _, c := range r.Channels {
		for i := range days {
			uploaded[i] += float64(c.UploadedByDay[i])
			pauses[i] = max(pauses[i], c.MaxPauseByDay[i])
		}
	}
	chart(section, "Uploaded by day", uploaded, r.From, func(v float64) string { return size(int64(v)) })
	chart(section, "Longest pause by day", pauses, r.From, pause)
}

// chartHeight is that of a chart, in units of its own.
const chartHeight = 100

// chart draws a value for each day as a column. If all are zero there is none.
func chart(section *html.Node, title string, values []float64, first time.Time, say func(float64) string) {
	most, at := 0.0, 0
	for i, v := range values {
		if v > most {
			most, at = v, i
		}
	}
	if most == 0 {
		return
	}
	date := func(i int) string { return first.AddDate(0, 0, i).Format("2 January") }
	caption := fmt.Sprintf("%s: at most %s, on %s", title, say(most), date(at))
	svg := el("svg", class("chart"), attr{"height", "128"}, attr{"viewBox", fmt.Sprintf("0 0 %d %d", barWidth*len(values)-1, chartHeight)}, attr{"preserveAspectRatio", "none"},
		attr{"role", "img"}, attr{"aria-label", caption})
	for i, v := range values {
		if v <= 0 {
			continue
		}
		height := max(1, chartHeight*v/most)
		svg.AppendChild(el("rect", attr{"x", fmt.Sprint(barWidth * i)}, attr{"y", fmt.Sprintf("%.1f", chartHeight-height)},
			attr{"width", fmt.Sprint(barWidth - 1)}, attr{"height", fmt.Sprintf("%.1f", height)}))
	}
	section.AppendChild(el("figure", svg,
		el("div", class("row small axis"), attr{"aria-hidden", "true"}, el("span", date(0)), el("span", date(len(values)-1))),
		el("figcaption", caption+".")))
}
