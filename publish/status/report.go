package status

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// ReportFormat is the version of the JSON of a [Report], likewise.
const ReportFormat = 1

// Objective is the share of probes that are to find a location up.
const Objective = 0.99

// Report is how the service did in a month of UTC, for those who run it: it holds what
// they alone may know.
type Report struct {
	Format    int              `json:"format"` // ReportFormat
	Publisher string           `json:"publisher"`
	From      time.Time        `json:"from"`
	To        time.Time        `json:"to"` // the end of the month, or when the report was made
	Generated time.Time        `json:"generated"`
	Objective float64          `json:"objective"` // share
	Locations []ReportLocation `json:"locations"`
	Incidents []ReportIncident `json:"incidents"` // oldest first
	Volumes   []Volume         `json:"volumes"`
	Channels  []ReportChannel  `json:"channels"`
	Changes   []Change         `json:"changes"` // oldest first
}

// ReportLocation is how a channel did at a location.
type ReportLocation struct {
	Channel  string   `json:"channel"`
	Location string   `json:"location"`
	Probes   int      `json:"probes"`
	Failed   int      `json:"failed"`
	Uptime   *float64 `json:"uptime,omitempty"` // share; nil if it was not probed
	Met      *bool    `json:"met,omitempty"`    // the objective; likewise
	Days     Days     `json:"days"`             // of the month
}

// ReportIncident is an incident that fell into the month.
type ReportIncident struct {
	Incident
	Seconds int64 `json:"seconds"` // of it that lie in the month
}

// Volume is what was delivered, by something that is watched.
type Volume struct {
	Name  string    `json:"name"`
	Bytes int64     `json:"bytes"`
	USD   float64   `json:"usd,omitempty"`  // about what it costs; 0 if that is not known
	Known time.Time `json:"known,omitzero"` // up to when
}

// ReportChannel are the runs of a channel that began in the month.
type ReportChannel struct {
	Channel        string          `json:"channel"`
	Outcomes       map[Outcome]int `json:"outcomes"`
	PublishedBytes int64           `json:"published_bytes"` // of all snapshots, as they are on disk
	UploadedBytes  int64           `json:"uploaded_bytes"`  // to all kinds of targets
	MedianPause    float64         `json:"median_pause_seconds"`
	MaxPause       float64         `json:"max_pause_seconds"`
	UploadedByDay  []int64         `json:"uploaded_bytes_by_day"`
	MaxPauseByDay  []float64       `json:"max_pause_seconds_by_day"`
	Incomplete     bool            `json:"incomplete,omitempty"` // runs of the month are on record no more
}

// ReportFacts are what a report is made of; what does not fall into its month is
// left out.
type ReportFacts struct {
	Publisher string
	Locations []Location
	Incidents []Incident
	Volumes   []Volume
	Channels  []string
	Runs      map[string][]Run // all that are on record, newest first
	Changes   []Change
}

// NewReport makes the report on the month that begins at from.
func NewReport(f ReportFacts, from, now time.Time) *Report {
	now = whole(now)
	over := from.AddDate(0, 1, 0)
	days := int(over.Sub(from) / (24 * time.Hour))
	to := over
	if now.Before(to) {
		to = now
	}
	r := &Report{
		Format: ReportFormat, Publisher: f.Publisher, From: from, To: to, Generated: now, Objective: Objective,
		Locations: []ReportLocation{}, Incidents: []ReportIncident{}, Volumes: append([]Volume{}, f.Volumes...),
		Channels: []ReportChannel{}, Changes: []Change{},
	}
	for _, l := range f.Locations {
		r.Locations = append(r.Locations, newReportLocation(l, newDays(from, days, l.Days)))
	}
	for _, i := range f.Incidents {
		if !i.Start.Before(over) || !i.End.IsZero() && !i.End.After(from) {
			continue
		}
		start, end := i.Start, i.End
		if start.Before(from) {
			start = from
		}
		if end.IsZero() || end.After(to) {
			end = to
		}
		r.Incidents = append(r.Incidents, ReportIncident{i, int64(max(0, end.Sub(start)).Seconds())})
	}
	slices.SortStableFunc(r.Incidents, func(a, b ReportIncident) int { return a.Start.Compare(b.Start) })
	changes := slices.Clone(f.Changes)
	for _, name := range f.Channels {
		runs := f.Runs[name]
		r.Channels = append(r.Channels, newReportChannel(name, runs, r, days))
		changes = append(changes, nodeChanges(name, runs)...)
	}
	for _, c := range changes {
		if r.during(c.At) {
			r.Changes = append(r.Changes, c)
		}
	}
	slices.SortStableFunc(r.Changes, func(a, b Change) int { return a.At.Compare(b.At) })
	return r
}

// during reports whether a time lies in the month. To is in whole seconds, and nothing
// on record is younger than the report.
func (r *Report) during(t time.Time) bool {
	return !t.Before(r.From) && t.Before(r.From.AddDate(0, 1, 0))
}

func newReportLocation(l Location, days Days) ReportLocation {
	location := ReportLocation{Channel: l.Last.Channel, Location: l.Last.Location, Days: days, Uptime: days.uptime()}
	location.Probes, location.Failed = days.sum()
	if location.Uptime != nil {
		met := *location.Uptime >= Objective
		location.Met = &met
	}
	return location
}

func newReportChannel(name string, runs []Run, r *Report, days int) ReportChannel {
	c := ReportChannel{
		Channel: name, Outcomes: map[Outcome]int{}, UploadedByDay: make([]int64, days), MaxPauseByDay: make([]float64, days),
		Incomplete: len(runs) >= maxRuns && runs[len(runs)-1].Start.After(r.From),
	}
	var pauses []float64
	for _, run := range runs {
		if !r.during(run.Start) {
			continue
		}
		c.Outcomes[run.Outcome]++
		if run.Outcome != Published {
			continue
		}
		day := int(run.Start.Sub(r.From) / (24 * time.Hour))
		c.PublishedBytes += run.RawBytes
		c.UploadedBytes += run.UploadedBytes + run.FilesBytes
		c.UploadedByDay[day] += run.UploadedBytes + run.FilesBytes
		c.MaxPauseByDay[day] = max(c.MaxPauseByDay[day], run.PauseSeconds)
		pauses = append(pauses, run.PauseSeconds)
	}
	if slices.Sort(pauses); len(pauses) > 0 {
		c.MedianPause, c.MaxPause = median(pauses), pauses[len(pauses)-1]
	}
	return c
}

// median of values that are in order.
func median(values []float64) float64 {
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// nodeChanges are when the node of a channel was first seen to be another.
func nodeChanges(channel string, runs []Run) (all []Change) {
	was := ""
	for _, run := range slices.Backward(runs) {
		if run.Node == "" || run.Node == was {
			continue
		}
		all = append(all, Change{At: run.Start, What: ChangeNode + channel, From: was, To: run.Node})
		was = run.Node
	}
	return all
}

// runs is how many runs there were, by what became of them.
func (c *ReportChannel) runs() (n int) {
	for _, of := range c.Outcomes {
		n += of
	}
	return n
}

// uptime is the share of all probes of the month, nil if there was none.
func (r *Report) uptime() *float64 {
	probes, failed := 0, 0
	for _, l := range r.Locations {
		probes += l.Probes
		failed += l.Failed
	}
	if probes == 0 {
		return nil
	}
	up := share(probes, failed)
	return &up
}

// JSON is the report for programs.
func (r *Report) JSON() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the report: %w", err)
	}
	return append(b, '\n'), nil
}
