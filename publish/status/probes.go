package status

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Probe is what was seen of a channel at a location, where it was read from as those
// who fetch read. What is not known is zero.
type Probe struct {
	Channel  string    `json:"channel"`
	Location string    `json:"location"`        // as people know it, without credentials
	At       time.Time `json:"at"`              // when it was over
	Error    string    `json:"error,omitempty"` // why nobody can fetch from there; empty if they can

	Version        string    `json:"version,omitempty"`  // the newest of the head that is served there
	Sequence       int64     `json:"sequence,omitempty"` // of that head
	Expires        time.Time `json:"expires,omitzero"`   // likewise
	Height         int64     `json:"height,omitempty"`   // of the newest version
	SnapshotBytes  int64     `json:"snapshot_bytes,omitempty"`
	HeadSeconds    float64   `json:"head_seconds,omitempty"`     // until the head was there
	Bytes          int64     `json:"bytes,omitempty"`            // of snapshot that were read as a sample
	BytesPerSecond float64   `json:"bytes_per_second,omitempty"` // of the sample
}

// OK reports whether one can fetch from there.
func (p Probe) OK() bool { return p.Error == "" }

// Location is how a channel does at a location.
type Location struct {
	Last  Probe     `json:"last"`
	Since time.Time `json:"since"` // so long it is up, or down
	Days  []Day     `json:"days"`  // those that it was probed on, oldest first
}

// Day is how the probes of a day of UTC went.
type Day struct {
	Date   string `json:"date"` // like 2026-11-25
	Probes int    `json:"probes"`
	Failed int    `json:"failed,omitempty"`
}

// Uptime is the share of the probes on days from … to, both included, that found all
// well; ok is false if there was none.
func (l *Location) Uptime(from, to string) (share float64, ok bool) {
	probes, failed := 0, 0
	for _, d := range l.Days {
		if from <= d.Date && d.Date <= to {
			probes += d.Probes
			failed += d.Failed
		}
	}
	if probes == 0 {
		return 0, false
	}
	return 1 - float64(failed)/float64(probes), true
}

// Incident is a time in which a location was down.
type Incident struct {
	Channel  string    `json:"channel"`
	Location string    `json:"location"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end,omitzero"` // zero while it lasts
	Cause    string    `json:"cause"`        // as the first probe that failed has it
}

// Probes is the record of what probes have seen. It is safe for concurrent use, by
// several processes too.
type Probes struct{ record }

// ProbesIn returns the record in a state directory.
func ProbesIn(stateDir string) *Probes { return &Probes{record{stateDir, "probes"}} }

// The buckets. Locations are channel, 0 byte, location → Location in JSON; incidents
// are their number → Incident in JSON.
var (
	locationsBucket = []byte("locations")
	incidentsBucket = []byte("incidents")
)

// Note records a round of probes.
func (p *Probes) Note(round ...Probe) error {
	return p.update(func(tx *bbolt.Tx) error {
		locations, err := tx.CreateBucketIfNotExists(locationsBucket)
		if err != nil {
			return err
		}
		incidents, err := tx.CreateBucketIfNotExists(incidentsBucket)
		if err != nil {
			return err
		}
		for _, probe := range round {
			if err := note(locations, incidents, probe); err != nil {
				return err
			}
		}
		return nil
	})
}

func note(locations, incidents *bbolt.Bucket, probe Probe) error {
	k := []byte(probe.Channel + "\x00" + probe.Location)
	var l Location
	known := false
	if v := locations.Get(k); v != nil {
		if err := json.Unmarshal(v, &l); err != nil {
			return fmt.Errorf("location %q: %w", k, err)
		}
		known = true
	}
	if !known || l.Last.OK() != probe.OK() {
		l.Since = probe.At
		var err error
		switch {
		case !probe.OK():
			err = beginIncident(incidents, probe)
		case known:
			err = endIncident(incidents, probe)
		}
		if err != nil {
			return err
		}
	}
	l.Last = probe
	l.count(probe)
	v, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return locations.Put(k, v)
}

// count adds a probe to its day, and forgets days of long ago.
func (l *Location) count(probe Probe) {
	date := probe.At.UTC().Format(time.DateOnly)
	i, found := slices.BinarySearchFunc(l.Days, date, func(d Day, date string) int { return cmp.Compare(d.Date, date) })
	if !found {
		l.Days = slices.Insert(l.Days, i, Day{Date: date})
	}
	l.Days[i].Probes++
	if !probe.OK() {
		l.Days[i].Failed++
	}
	oldest := probe.At.Add(-maxAge).UTC().Format(time.DateOnly)
	l.Days = slices.DeleteFunc(l.Days, func(d Day) bool { return d.Date < oldest })
}

func beginIncident(b *bbolt.Bucket, probe Probe) error {
	if err := trimIncidents(b, probe.At); err != nil {
		return err
	}
	id, err := b.NextSequence()
	if err != nil {
		return err
	}
	return putIncident(b, key(id), Incident{Channel: probe.Channel, Location: probe.Location, Start: probe.At, Cause: probe.Error})
}

// endIncident ends the newest one of the location, which is the one that lasts.
func endIncident(b *bbolt.Bucket, probe Probe) error {
	c := b.Cursor()
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		i, err := parseIncident(k, v)
		if err != nil {
			return err
		}
		if i.Channel == probe.Channel && i.Location == probe.Location {
			i.End = probe.At
			return putIncident(b, k, i)
		}
	}
	return nil
}

func trimIncidents(b *bbolt.Bucket, now time.Time) error {
	var old [][]byte // first: a change would confuse the cursor
	n := 1
	c := b.Cursor()
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		i, err := parseIncident(k, v)
		if err != nil {
			return err
		}
		if n++; n > maxIncidents || now.Sub(i.Start) > maxAge && !i.End.IsZero() {
			old = append(old, bytes.Clone(k))
		}
	}
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// maxIncidents is how many are kept.
const maxIncidents = 10_000

func putIncident(b *bbolt.Bucket, k []byte, i Incident) error {
	v, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return b.Put(k, v)
}

func parseIncident(k, v []byte) (i Incident, err error) {
	if err := json.Unmarshal(v, &i); err != nil {
		return i, fmt.Errorf("incident %x: %w", k, err)
	}
	return i, nil
}

// Locations returns how channels do at locations, by channel and location. What is
// not probed any more stays until [Probes.Keep] forgets it.
func (p *Probes) Locations() ([]Location, error) {
	var all []Location
	err := p.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(locationsBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			var l Location
			if err := json.Unmarshal(v, &l); err != nil {
				return fmt.Errorf("location %q: %w", k, err)
			}
			all = append(all, l)
			return nil
		})
	})
	return all, err
}

// Incidents returns those that had not ended before a moment, newest first.
func (p *Probes) Incidents(since time.Time) ([]Incident, error) {
	var all []Incident
	err := p.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(incidentsBucket)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.Last(); k != nil; k, v = c.Prev() {
			i, err := parseIncident(k, v)
			if err != nil {
				return err
			}
			if i.End.IsZero() || i.End.After(since) {
				all = append(all, i)
			}
		}
		return nil
	})
	return all, err
}

// Keep forgets the locations of channels that keep does not know, and
// ends what lasts there: nobody looks there any more.
func (p *Probes) Keep(now time.Time, keep func(channel, location string) bool) error {
	all, err := p.Locations()
	if err != nil || !slices.ContainsFunc(all, func(l Location) bool { return !keep(l.Last.Channel, l.Last.Location) }) {
		return err // nothing to write
	}
	return p.update(func(tx *bbolt.Tx) error {
		locations, incidents := tx.Bucket(locationsBucket), tx.Bucket(incidentsBucket)
		if locations == nil || incidents == nil {
			return nil
		}
		var errs error
		for _, l := range all {
			if keep(l.Last.Channel, l.Last.Location) {
				continue
			}
			if !l.Last.OK() {
				last := l.Last
				last.At = now
				errs = errors.Join(errs, endIncident(incidents, last))
			}
			errs = errors.Join(errs, locations.Delete([]byte(l.Last.Channel+"\x00"+l.Last.Location)))
		}
		return errs
	})
}
