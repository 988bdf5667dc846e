package agent

import (
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/status"
)

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
