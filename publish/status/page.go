package status

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/qsync/qsync/manifest"
)

// PageFormat is the version of the JSON of a [Page]. It grows when something changes
// its meaning or goes away; what is new comes without notice.
const PageFormat = 1

// Page is what everybody may know of how the service does. It holds neither the texts
// of errors nor anything that only the inside knows.
type Page struct {
	Format    int            `json:"format"` // PageFormat
	Publisher string         `json:"publisher"`
	Generated time.Time      `json:"generated"`
	State     State          `json:"state"`
	Channels  []PageChannel  `json:"channels"`
	Incidents []PageIncident `json:"incidents"`                // of the days that are shown, newest first
	Earlier   int            `json:"more_incidents,omitempty"` // of these days, that are left out
}

// State is how something does.
type State string

// The states.
const (
	Up      State = "up"
	Partly  State = "partly" // some of it is up
	Down    State = "down"
	Unknown State = "unknown" // nobody has looked lately
)

// PageChannel is how a channel does.
type PageChannel struct {
	Name      string         `json:"channel"`
	Chain     string         `json:"chain,omitempty"`
	State     State          `json:"state"`
	Snapshot  *PageSnapshot  `json:"snapshot,omitempty"` // the newest; nil is none
	Next      time.Time      `json:"next,omitzero"`      // when the one after it is begun, if that is known
	Locations []PageLocation `json:"locations"`
}

// PageSnapshot is a snapshot. What is not known is zero.
type PageSnapshot struct {
	Version string    `json:"version"`
	Cut     time.Time `json:"cut"`
	Height  int64     `json:"height,omitempty"` // of its last block
	Bytes   int64     `json:"bytes,omitempty"`  // as it is on disk when it is restored
}

// PageLocation is how a channel does at a location. What is not known is zero.
type PageLocation struct {
	Location       string    `json:"location"`
	State          State     `json:"state"`
	Since          time.Time `json:"since"`             // so long it is up, or down
	Checked        time.Time `json:"checked"`           // when it was probed last
	Cause          string    `json:"cause,omitempty"`   // of its being down
	Version        string    `json:"version,omitempty"` // the newest that can be fetched there
	Height         int64     `json:"height,omitempty"`  // of that
	HeadSeconds    float64   `json:"head_seconds,omitempty"`
	BytesPerSecond float64   `json:"bytes_per_second,omitempty"`
	Uptime         *float64  `json:"uptime,omitempty"` // share of the probes of the days that are shown; nil if there was none
	Days           Days      `json:"days"`             // the last PageDays
}

// PageIncident is a time in which a location was down, for one or more channels.
type PageIncident struct {
	Channels []string  `json:"channels"`
	Location string    `json:"location"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end,omitzero"` // zero while it lasts
	Cause    string    `json:"cause"`
}

// PageDays is how many days a page shows, that of its making included, and
// pageIncidents how many incidents.
const (
	PageDays      = 90
	pageIncidents = 25
)

// Facts are what a page is made of.
type Facts struct {
	Publisher string
	Channels  []ChannelFacts // in the order in which they are shown
	Locations []Location     // those of other channels are left out
	Incidents []Incident     // likewise
	// Stale is how old a probe is that says nothing any more of how a location does.
	Stale time.Duration
}

// ChannelFacts are what is known of a channel.
type ChannelFacts struct {
	Name, Chain string
	Published   *Run      // the newest run that has published; nil is none
	Next        time.Time // when the next one begins; zero if that is not known
}

// NewPage makes a page of what is known now.
func NewPage(f Facts, now time.Time) *Page {
	now = now.UTC().Truncate(time.Second)
	p := &Page{Format: PageFormat, Publisher: f.Publisher, Generated: now, Channels: []PageChannel{}}
	names := map[string]bool{}
	var states []State
	for _, c := range f.Channels {
		names[c.Name] = true
		channel := newPageChannel(c, f, now)
		states = append(states, channel.State)
		p.Channels = append(p.Channels, channel)
	}
	p.State = together(states)
	incidents := slices.DeleteFunc(slices.Clone(f.Incidents), func(i Incident) bool { return !names[i.Channel] })
	p.Incidents = gather(incidents, firstDay(now))
	if n := len(p.Incidents); n > pageIncidents {
		p.Incidents, p.Earlier = p.Incidents[:pageIncidents], n-pageIncidents
	}
	return p
}

// firstDay is when the first day that a page shows begins.
func firstDay(now time.Time) time.Time {
	return now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-PageDays)
}

// together is the state of what has such parts. One that nobody has looked at does not
// speak against the others.
func together(parts []State) State {
	parts = slices.DeleteFunc(slices.Clone(parts), func(s State) bool { return s == Unknown })
	if len(parts) == 0 {
		return Unknown
	}
	for _, s := range parts {
		if s != parts[0] {
			return Partly
		}
	}
	return parts[0]
}

func newPageChannel(c ChannelFacts, f Facts, now time.Time) PageChannel {
	channel := PageChannel{Name: c.Name, Chain: c.Chain, Locations: []PageLocation{}}
	if c.Next.After(now) {
		channel.Next = c.Next.UTC()
	}
	if r := c.Published; r != nil {
		channel.offer(r.Version, r.Height, r.RawBytes)
	}
	var states []State
	for i := range f.Locations {
		l := &f.Locations[i]
		if l.Last.Channel != c.Name {
			continue
		}
		location := newPageLocation(l, f.Stale, now)
		channel.Locations = append(channel.Locations, location)
		states = append(states, location.State)
		if l.Last.OK() {
			channel.offer(l.Last.Version, l.Last.Height, l.Last.SnapshotBytes)
		}
	}
	channel.State = together(states)
	return channel
}

// offer makes a snapshot the channel's if there is no newer one.
func (c *PageChannel) offer(version string, height, size int64) {
	cut, err := time.Parse(manifest.VersionFormat, version)
	if err != nil || c.Snapshot != nil && c.Snapshot.Version > version {
		return
	}
	if c.Snapshot == nil || c.Snapshot.Version < version {
		c.Snapshot = &PageSnapshot{Version: version, Cut: cut}
	}
	c.Snapshot.Height = cmp.Or(c.Snapshot.Height, height)
	c.Snapshot.Bytes = cmp.Or(c.Snapshot.Bytes, size)
}

func newPageLocation(l *Location, stale time.Duration, now time.Time) PageLocation {
	last := l.Last
	p := PageLocation{
		Location: publicName(last.Location), State: Up, Since: whole(l.Since), Checked: whole(last.At),
		Version: last.Version, Height: last.Height, HeadSeconds: last.HeadSeconds, BytesPerSecond: last.BytesPerSecond,
	}
	if !last.OK() {
		p.State, p.Cause = Down, publicCause(last.Error)
	}
	if now.Sub(last.At) > stale {
		p.State, p.Cause = Unknown, ""
	}
	p.Days = newDays(firstDay(now), PageDays, l.Days)
	p.Uptime = p.Days.uptime()
	return p
}

func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// sameTime is how far apart the beginnings, or the ends, of incidents may be that are
// told as one: a round of probes takes its time.
const sameTime = 5 * time.Minute

// gather makes one of the incidents that a location had with several channels at a
// time. It leaves out those that were over before since.
func gather(all []Incident, since time.Time) []PageIncident {
	gathered := []PageIncident{}
	for _, i := range all {
		if !i.End.IsZero() && i.End.Before(since) {
			continue
		}
		one := PageIncident{[]string{i.Channel}, publicName(i.Location), whole(i.Start), time.Time{}, publicCause(i.Cause)}
		if !i.End.IsZero() {
			one.End = whole(i.End)
		}
		at := slices.IndexFunc(gathered, func(o PageIncident) bool {
			return o.Location == one.Location && o.Cause == one.Cause && !slices.Contains(o.Channels, i.Channel) &&
				o.End.IsZero() == one.End.IsZero() && o.Start.Sub(one.Start).Abs() <= sameTime && o.End.Sub(one.End).Abs() <= sameTime
		})
		if at < 0 {
			gathered = append(gathered, one)
			continue
		}
		o := &gathered[at]
		o.Channels = append(o.Channels, i.Channel)
		slices.Sort(o.Channels)
		if one.Start.Before(o.Start) {
			o.Start = one.Start
		}
		if one.End.After(o.End) {
			o.End = one.End
		}
	}
	slices.SortStableFunc(gathered, func(a, b PageIncident) int { return b.Start.Compare(a.Start) })
	return gathered
}

// JSON is the page for programs.
func (p *Page) JSON() ([]byte, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	return append(b, '\n'), nil
}

// Says reports whether the JSON of an earlier page says the same as this one does, but
// for the time of its making, which it returns.
func (p *Page) Says(earlier []byte) (made time.Time, same bool) {
	var then Page
	if json.Unmarshal(earlier, &then) != nil {
		return made, false
	}
	made = then.Generated
	now := *p
	now.Generated, then.Generated = time.Time{}, time.Time{}
	a, errA := now.JSON()
	b, errB := then.JSON()
	return made, errA == nil && errB == nil && bytes.Equal(a, b)
}
