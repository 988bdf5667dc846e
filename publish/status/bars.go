package status

import (
	"fmt"
	"strings"

	"golang.org/x/net/html"
)

// mostly is the share of failed probes from which a day counts as one that was down.
const mostly = 0.5

// classOf is how a day looks.
func classOf(probes, failed int) string {
	switch {
	case probes == 0:
		return "none"
	case failed == 0:
		return "up"
	case float64(failed) < mostly*float64(probes):
		return "partly"
	}
	return "down"
}

// barWidth is that of a day with the gap behind it, which the style draws.
const barWidth = 4

// bars draws each kind of day as one path of dashes: days in a row are one line, so that
// a quarter of a year takes less than a paragraph.
func (d *Days) bars() *html.Node {
	paths := map[string]*strings.Builder{}
	last, start := "", 0
	flush := func(end int) {
		if last == "" {
			return
		}
		if paths[last] == nil {
			paths[last] = &strings.Builder{}
		}
		fmt.Fprintf(paths[last], "M%d 10h%d", barWidth*start, barWidth*(end-start))
	}
	days := len(d.Probes)
	for i := range days {
		if c := classOf(d.Probes[i], d.Failed[i]); c != last {
			flush(i)
			last, start = c, i
		}
	}
	flush(days)
	svg := el("svg", class("bars"), attr{"height", "32"}, attr{"viewBox", fmt.Sprintf("0 0 %d 20", barWidth*days-1)}, attr{"preserveAspectRatio", "none"},
		attr{"role", "img"}, attr{"aria-label", d.text()})
	for _, c := range []string{"none", "up", "partly", "down"} {
		if paths[c] != nil {
			svg.AppendChild(el("path", class(c), attr{"d", paths[c].String()}))
		}
	}
	return svg
}

// textDays is how many days with failures the text names.
const textDays = 8

// text says what the bars show.
func (d *Days) text() string {
	var failures []string
	days, looked := len(d.Probes), 0
	for i := days - 1; i >= 0; i-- {
		if d.Probes[i] > 0 {
			looked++
		}
		if d.Failed[i] > 0 {
			failures = append(failures, fmt.Sprintf("%s (%s up)", d.date(i).Format("2 January"), percent(share(d.Probes[i], d.Failed[i]))))
		}
	}
	about := fmt.Sprintf("%d days to %s, ", days, d.date(days-1).Format(dayFormat))
	switch {
	case looked == 0:
		return about + "none of which was checked"
	case len(failures) == 0:
		return about + fmt.Sprintf("of which %d were checked: up each time", looked)
	}
	return about + fmt.Sprintf("of which %d were checked: failures on %s", looked, atMost(textDays, failures, "day"))
}
