package quota

import (
	"fmt"
	"slices"
	"time"

	"github.com/qsync/qsync/publish/alarm"
)

// crossing is one thing that there is a mail about. Exactly one of its fields is set.
type crossing struct {
	bytes   int64  // a multiple of the step
	percent int    // of the budget
	day     string // that was too dear
	usd     float64
}

// id is the Message-ID of the mail about it: the same, however often it is noticed.
func (c crossing) id(m *Meter, month time.Time) string {
	what := fmt.Sprintf("%d", c.bytes)
	switch {
	case c.percent > 0:
		what = fmt.Sprintf("budget-%d", c.percent)
	case c.day != "":
		what = "day-" + c.day
	}
	return alarm.MessageID(m.Publisher, "quota", m.Name, month.Format("2006-01"), what)
}

// crossed moves the mark to what the month has now, and returns what lies between, in
// order. With another step a multiple that lies below what was mailed is none.
func (m *Meter) crossed(mark *Month, hours []Hour) (all []crossing) {
	if step := m.Rules.Step; step > 0 {
		for next := (mark.Stepped/step + 1) * step; next <= mark.Bytes; next += step {
			all = append(all, crossing{bytes: next})
			mark.Stepped = next
		}
	}
	if m.Cost == nil {
		return all
	}
	if m.Rules.Budget > 0 {
		for _, p := range slices.Sorted(slices.Values(m.Rules.Percents)) {
			if p > mark.Percent && mark.USD >= m.Rules.Budget*float64(p)/100 {
				all = append(all, crossing{percent: p})
				mark.Percent = p
			}
		}
	}
	if m.Rules.Rate > 0 {
		for _, d := range m.days(hours) {
			if d.usd > m.Rules.Rate && !slices.Contains(mark.Days, d.day) {
				all = append(all, d)
				mark.Days = append(mark.Days, d.day)
			}
		}
	}
	return all
}

// days are what each day of a month has cost. Of what is cheaper the more there is the
// day has the part that it stands at.
func (m *Meter) days(hours []Hour) (all []crossing) {
	before := int64(0)
	for len(hours) > 0 {
		day := hours[0].Start.UTC().Format(time.DateOnly)
		n := slices.IndexFunc(hours, func(h Hour) bool { return h.Start.UTC().Format(time.DateOnly) != day })
		if n < 0 {
			n = len(hours)
		}
		bytes := sum(hours[:n])
		all = append(all, crossing{day: day, usd: m.Cost(before+bytes) - m.Cost(before)})
		before, hours = before+bytes, hours[n:]
	}
	return all
}
