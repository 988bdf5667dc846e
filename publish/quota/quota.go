// Package quota knows how much was delivered in a month, and has the mails posted that
// say so.
//
// A Source tells the bytes of each hour. They come late and are corrected, so all of
// the month is read each time, and of the month before for two days more. What was
// crossed is a mark: it only ever grows, so that a sum which shrinks, because data
// was corrected or a counter was lost, neither takes back what was said nor says it
// again. The mark and the mails about it are one transaction of the outbox.
//
// Months are those of UTC, as Amazon's bills have them.
package quota

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/qsync/qsync/publish/alarm"
)

// Source is where it is known how much was delivered.
type Source interface {
	// Delivered returns the hours of [from, to) in which something was delivered, as
	// far as it is known now, oldest first. Both are whole hours of UTC.
	Delivered(ctx context.Context, from, to time.Time) ([]Hour, error)
	// String names the source, for people.
	String() string
}

// Hour is what was delivered in an hour.
type Hour struct {
	Start time.Time `json:"start"`
	Bytes int64     `json:"bytes"`
	// Channels are the bytes of those that can be told apart; nil is of none.
	Channels map[string]int64 `json:"channels,omitempty"`
}

// Rules say what there is a mail about. What is zero is no rule.
type Rules struct {
	Step int64 // bytes: each multiple of it
	// Budget is what a month may cost, in US dollars, and Percents are the shares of it
	// that there is a mail about when they are spent.
	Budget   float64
	Percents []int
	// Rate is what a day may cost, in US dollars.
	Rate float64
}

// Meter watches what one distribution or server delivers.
type Meter struct {
	Name      string // of it, like E2QWRUHEXAMPLE
	Publisher string
	Source    Source
	Rules     Rules
	// Cost is what so many bytes cost in a month, in US dollars; nil if that is not
	// known.
	Cost func(bytes int64) float64
}

// Month is what is on record of a month. Once it is said what was crossed stays so.
type Month struct {
	Start   time.Time `json:"start"`
	Looked  time.Time `json:"looked"`
	Bytes   int64     `json:"bytes"`             // as known then
	Most    int64     `json:"most"`              // Bytes before they were corrected downwards, if they were
	Known   time.Time `json:"known,omitzero"`    // the end of the last hour that is known
	Project int64     `json:"projected"`         // bytes at its end
	USD     float64   `json:"usd,omitempty"`     // what Bytes cost
	EndUSD  float64   `json:"end_usd,omitempty"` // what Project would

	Stepped int64    `json:"stepped,omitempty"` // the highest multiple of a step that was mailed, in bytes
	Percent int      `json:"percent,omitempty"` // the highest share of the budget that was
	Days    []string `json:"days,omitempty"`    // that were found too dear
}

// lateness is for how long after its end a month is read again.
const lateness = 48 * time.Hour

// monthOf is the first moment of the month.
func monthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

func markName(meter string, month time.Time) string {
	return "quota/" + meter + "/" + month.Format("2006-01")
}

// Look asks the source, and posts the mails about what was crossed since the last
// time.
func (m *Meter) Look(ctx context.Context, o *alarm.Outbox, now time.Time) (*Month, error) {
	now = now.UTC()
	month := monthOf(now)
	first := month
	if now.Sub(month) < lateness {
		first = monthOf(month.Add(-time.Hour))
	}
	hours, err := m.Source.Delivered(ctx, first, now.Truncate(time.Hour).Add(time.Hour))
	if err != nil {
		return nil, fmt.Errorf("look what %s has delivered: %w", m.Name, err)
	}
	var last *Month
	err = o.Update(func(tx *alarm.Tx) error {
		for start := first; !start.After(month); start = start.AddDate(0, 1, 0) {
			// Who begins to watch is not told of a month that is over.
			watched, err := tx.Mark(markName(m.Name, start), &Month{})
			if err != nil {
				return err
			}
			if start.Before(month) && !watched {
				continue
			}
			if last, err = m.note(tx, start, within(hours, start), now); err != nil {
				return err
			}
		}
		return nil
	})
	return last, err
}

// within are the hours of a month.
func within(hours []Hour, month time.Time) []Hour {
	end := month.AddDate(0, 1, 0)
	return slices.DeleteFunc(slices.Clone(hours), func(h Hour) bool { return h.Start.Before(month) || !h.Start.Before(end) })
}

// note compares a month with its mark, posts, and moves the mark on.
func (m *Meter) note(tx *alarm.Tx, start time.Time, hours []Hour, now time.Time) (*Month, error) {
	mark := &Month{}
	if _, err := tx.Mark(markName(m.Name, start), mark); err != nil {
		return nil, err
	}
	mark.Start, mark.Looked = start, now
	mark.Bytes, mark.Known, mark.Project = sum(hours), known(hours), project(hours, start)
	mark.Most = max(mark.Most, mark.Bytes)
	if m.Cost != nil {
		mark.USD, mark.EndUSD = m.Cost(mark.Bytes), m.Cost(mark.Project)
	}
	for _, c := range m.crossed(mark, hours) {
		if err := tx.Post(m.letter(c, mark, hours).Mail(c.id(m, start), now)); err != nil {
			return nil, err
		}
	}
	return mark, tx.SetMark(markName(m.Name, start), mark)
}

// On returns what is on record of the month that a time lies in; nil is nothing.
func (m *Meter) On(o *alarm.Outbox, now time.Time) (*Month, error) {
	mark := &Month{}
	if found, err := o.Mark(markName(m.Name, monthOf(now)), mark); !found || err != nil {
		return nil, err
	}
	return mark, nil
}

// Reached reports whether so many bytes were delivered, as far as was ever known: what
// has been corrected since takes nothing back.
func (m *Month) Reached(bytes int64) bool { return m != nil && max(m.Most, m.Bytes) >= bytes }

func sum(hours []Hour) (bytes int64) {
	for _, h := range hours {
		bytes += h.Bytes
	}
	return bytes
}

func known(hours []Hour) time.Time {
	if len(hours) == 0 {
		return time.Time{}
	}
	return hours[len(hours)-1].Start.Add(time.Hour)
}

// trend is what a projection is drawn from.
const trend = 7 * 24 * time.Hour

// project is how many bytes the month has at its end, if it goes on as in the last
// days that are known.
func project(hours []Hour, start time.Time) int64 {
	at := known(hours)
	if at.IsZero() {
		return 0
	}
	span := min(at.Sub(start), trend)
	recent := int64(0)
	for _, h := range hours {
		if h.Start.Before(at.Add(-span)) {
			continue
		}
		recent += h.Bytes
	}
	left := start.AddDate(0, 1, 0).Sub(at)
	return sum(hours) + int64(float64(recent)*left.Hours()/span.Hours())
}

// channels are the bytes by channel, the most first.
func channels(hours []Hour) []Share {
	all := map[string]int64{}
	for _, h := range hours {
		for name, bytes := range h.Channels {
			all[name] += bytes
		}
	}
	var shares []Share
	for _, name := range slices.Sorted(maps.Keys(all)) {
		shares = append(shares, Share{name, all[name]})
	}
	slices.SortStableFunc(shares, func(a, b Share) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return shares
}

// Share is what a channel has of a volume.
type Share struct {
	Channel string
	Bytes   int64
}

// Attempt is how the last look at a meter went.
type Attempt struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error,omitempty"`
}

func attemptName(meter string) string { return "looked/" + meter }

// Noted puts on record how a look went.
func Noted(o *alarm.Outbox, meter string, now time.Time, err error) error {
	a := Attempt{Time: now.UTC()}
	if err != nil {
		a.Error = err.Error()
	}
	return o.Update(func(tx *alarm.Tx) error { return tx.SetMark(attemptName(meter), a) })
}

// LastAttempt is what Noted has put on record; its time is zero if there is nothing.
func LastAttempt(o *alarm.Outbox, meter string) (a Attempt, err error) {
	_, err = o.Mark(attemptName(meter), &a)
	return a, err
}
