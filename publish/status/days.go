package status

import "time"

// Days are how the probes of some days in a row went, one number for each day.
type Days struct {
	First  string `json:"first"` // day, like 2026-11-25
	Probes []int  `json:"probes"`
	Failed []int  `json:"failed"`
}

// newDays are so many days from first on.
func newDays(first time.Time, n int, known []Day) Days {
	d := Days{First: first.Format(time.DateOnly), Probes: make([]int, n), Failed: make([]int, n)}
	for _, day := range known {
		at, err := time.Parse(time.DateOnly, day.Date)
		if i := int(at.Sub(first) / (24 * time.Hour)); err == nil && !at.Before(first) && i < n {
			d.Probes[i], d.Failed[i] = day.Probes, day.Failed
		}
	}
	return d
}

func (d *Days) date(i int) time.Time {
	first, _ := time.Parse(time.DateOnly, d.First) // which newDays has written
	return first.AddDate(0, 0, i)
}

func (d *Days) sum() (probes, failed int) {
	for i := range d.Probes {
		probes += d.Probes[i]
		failed += d.Failed[i]
	}
	return probes, failed
}

// uptime is the share of the probes that found all well, nil if there was none.
func (d *Days) uptime() *float64 {
	probes, failed := d.sum()
	if probes == 0 {
		return nil
	}
	up := share(probes, failed)
	return &up
}

func share(probes, failed int) float64 { return 1 - float64(failed)/float64(probes) }
