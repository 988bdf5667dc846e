package agent

import (
	"context"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/probe"
	"github.com/qsync/qsync/publish/status"
)

// ProbeNow probes channels at all their locations, and returns what it has seen, in their
// order. Nothing of it goes on record, and nothing that is on record is believed: a cache
// that is behind gets a minute.
func ProbeNow(ctx context.Context, a *config.Agent, channels []string) ([]status.Probe, error) {
	marks, err := os.MkdirTemp("", "qsyncd-probe-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(marks)
	var all []*probe.Place
	readers := map[string]*probe.Reader{}
	room := probe.NewRoom()
	for _, channel := range channels {
		r, _, err := newReader(ctx, a, channel, marks)
		if err != nil {
			return nil, err
		}
		r.Sample, r.Room = sampleOf(a, len(channels)), room
		readers[channel] = r
		all = append(all, places(a, channel)...)
	}
	seen := make([]status.Probe, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(probesAtOnce)
	for i, place := range all {
		group.Go(func() (err error) {
			seen[i], err = readers[place.Channel].Probe(ctx, place)
			return err
		})
	}
	return seen, group.Wait()
}

// Location is how a channel does at a location, as the agent's probes have last seen it.
type Location struct {
	Location string    `json:"location"`
	OK       bool      `json:"ok"`
	Since    time.Time `json:"since"` // so long it is so
	Probed   time.Time `json:"probed"`
	Version  string    `json:"version,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// lookAtLocations says what is on record of them, and which are down.
func (o *Overview) lookAtLocations(a *config.Agent) error {
	if a.Probe.Off {
		return nil
	}
	all, err := status.ProbesIn(a.State).Locations()
	if err != nil {
		return err
	}
	for _, l := range all {
		for _, c := range o.Channels {
			if c.Name == l.Last.Channel {
				c.Locations = append(c.Locations, Location{l.Last.Location, l.Last.OK(), l.Since, l.Last.At, l.Last.Version, l.Last.Error})
			}
		}
	}
	for _, c := range o.Channels {
		for _, l := range c.Locations {
			if !l.OK {
				c.problem("down since %s: %s: %s", l.Since.UTC().Format("2006-01-02 15:04:05 MST"), l.Location, l.Error)
				c.OK = false
			}
		}
	}
	return nil
}
