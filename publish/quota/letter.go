package quota

import (
	"fmt"
	"strconv"

	"github.com/dustin/go-humanize"

	"github.com/qsync/qsync/publish/alarm"
)

// maxChannels is how many channels a mail names.
const maxChannels = 5

// letter is the mail about a crossing.
func (m *Meter) letter(c crossing, mark *Month, hours []Hour) *alarm.Letter {
	month := mark.Start.Format("January 2006")
	l := &alarm.Letter{Sender: m.Publisher}
	switch {
	case c.percent > 0:
		l.Subject = fmt.Sprintf("[qsync] %s: %d %% of the budget of %s", m.Name, c.percent, month)
		l.Lead = append(l.Lead, fmt.Sprintf("What %s has delivered in %s costs about %s. That is %d %% or more of the budget of %s.",
			m.Name, month, usd(mark.USD), c.percent, usd(m.Rules.Budget)))
	case c.day != "":
		l.Subject = fmt.Sprintf("[qsync] %s: %s cost about %s", m.Name, c.day, usd(c.usd))
		l.Lead = append(l.Lead, fmt.Sprintf("What %s has delivered on %s costs about %s so far. More than %s a day is to be told.",
			m.Name, c.day, usd(c.usd), usd(m.Rules.Rate)))
	default:
		l.Subject = fmt.Sprintf("[qsync] %s: %s in %s", m.Name, Size(c.bytes), month)
		l.Lead = append(l.Lead, fmt.Sprintf("%s has delivered more than %s in %s.", m.Name, Size(c.bytes), month))
	}
	l.Facts = []alarm.Fact{
		{Name: "delivered so far", Value: Size(mark.Bytes)},
		{Name: "known up to", Value: mark.Known.Format("2006-01-02 15:04 MST")},
	}
	if ends := mark.Start.AddDate(0, 1, 0); mark.Known.Before(ends) {
		l.Facts = append(l.Facts, alarm.Fact{Name: "at the end of the month", Value: "about " + Size(mark.Project) + ", if it goes on as in the last days"})
	}
	if m.Cost != nil {
		l.Facts = append(l.Facts,
			alarm.Fact{Name: "cost so far", Value: "about " + usd(mark.USD)},
			alarm.Fact{Name: "cost of the month", Value: "about " + usd(mark.EndUSD) + ", by list prices, without requests and taxes"})
	}
	l.Facts = append(l.Facts, alarm.Fact{Name: "source", Value: m.Source.String()})
	if top := m.top(hours); len(top.Rows) > 0 {
		l.Tables = append(l.Tables, top)
	}
	l.Advice = m.advice()
	return l
}

// top are the channels with the most bytes.
func (m *Meter) top(hours []Hour) alarm.Table {
	t := alarm.Table{Title: "Top channels"}
	for i, s := range channels(hours) {
		if i == maxChannels {
			break
		}
		t.Rows = append(t.Rows, alarm.Fact{Name: s.Channel, Value: Size(s.Bytes)})
	}
	return t
}

func (m *Meter) advice() []string {
	all := []string{"If that is what you expect, nothing."}
	if m.Cost != nil {
		all = append(all, "Whoever fetches from IPFS or from a bucket whose readers pay costs you nothing: let operators know those URLs.")
	}
	return append(all,
		"If somebody fetches again and again, look into the access logs, and shut him out.",
		"Fewer or smaller versions, and operators who keep their old database as a seed, make downloads smaller.")
}

// Size is a number of bytes for people, in the units that CDNs are paid by. A whole
// number of them has no fraction.
func Size(n int64) string {
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}} {
		if n >= u.bytes {
			return strconv.FormatFloat(float64(n/(u.bytes/100))/100, 'f', -1, 64) + " " + u.name
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

func usd(x float64) string { return "$" + humanize.CommafWithDigits(x, 0) }
