package status

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// How a page writes things.

const (
	dayFormat    = "2 January 2006"
	clockFormat  = "15:04"
	momentFormat = dayFormat + ", " + clockFormat + " UTC"
)

func moment(t time.Time) string { return t.UTC().Format(momentFormat) }

// span is a length of time in one or two units.
func span(d time.Duration) string {
	d = max(0, d)
	minutes := int(d.Round(time.Minute).Minutes())
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	case minutes < 48*60:
		return two(minutes/60, " h", minutes%60, " min")
	}
	return two(minutes/60/24, " days", minutes/60%24, " h")
}

func two(n int, unit string, m int, smaller string) string {
	if m == 0 {
		return fmt.Sprint(n, unit)
	}
	return fmt.Sprint(n, unit, " ", m, smaller)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return humanize.Comma(int64(n)) + " " + what + "s"
}

func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// decimal is a size as CDNs bill it.
func decimal(n int64) string { return humanize.Bytes(uint64(max(0, n))) }

// pause is how long a node stood still.
func pause(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.0f ms", 1000*seconds)
	}
	return fmt.Sprintf("%.1f s", seconds)
}

func number(n int64) string { return humanize.Comma(n) }

// percent never rounds up to 100, nor down to 0: one failure among thousands is one.
func percent(share float64) string {
	if share >= 1 {
		return "100 %"
	}
	hundredths := math.Floor(share * 1e4)
	if hundredths < 1 && share > 0 {
		hundredths = 1
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", hundredths/100), "0"), ".") + " %"
}

// list joins words as people do.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// atMost is a list of which only the first n are named.
func atMost(n int, words []string, unit string) string {
	if len(words) <= n+1 {
		return list(words)
	}
	return list(append(words[:n:n], "on "+count(len(words)-n, unit)+" more"))
}

// between is a time in words, for how long and from when to when.
func between(start, end time.Time) string {
	to := end.UTC().Format(momentFormat)
	if start.UTC().Format(dayFormat) == end.UTC().Format(dayFormat) {
		to = end.UTC().Format(clockFormat + " UTC")
		return fmt.Sprintf("%s on %s, from %s to %s", span(end.Sub(start)), start.UTC().Format(dayFormat), start.UTC().Format(clockFormat), to)
	}
	return fmt.Sprintf("%s, from %s to %s", span(end.Sub(start)), moment(start), to)
}
