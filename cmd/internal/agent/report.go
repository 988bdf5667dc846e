package agent

import (
	"math"
	"slices"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/quota"
	"github.com/qsync/qsync/publish/status"
)

// NewReport makes the report on the month that begins at from, of what is on record.
func NewReport(a *config.Agent, from, now time.Time) (*status.Report, error) {
	f := status.ReportFacts{Publisher: a.Publisher, Channels: a.ChannelNames(), Runs: map[string][]status.Run{}}
	runs, probes := status.RunsIn(a.State), status.ProbesIn(a.State)
	onRecord, err := runs.Channels()
	if err != nil {
		return nil, err
	}
	for _, name := range onRecord { // some are configured no more
		if !slices.Contains(f.Channels, name) {
			f.Channels = append(f.Channels, name)
		}
	}
	for _, name := range f.Channels {
		if f.Runs[name], err = runs.Last(name, math.MaxInt); err != nil {
			return nil, err
		}
	}
	if f.Locations, err = probes.Locations(); err != nil {
		return nil, err
	}
	if f.Incidents, err = probes.Incidents(from); err != nil {
		return nil, err
	}
	if f.Changes, err = status.ChangesIn(a.State).Between(from, from.AddDate(0, 1, 0)); err != nil {
		return nil, err
	}
	months, err := quota.OnRecord(alarm.In(a.State), from)
	if err != nil {
		return nil, err
	}
	for _, m := range months {
		f.Volumes = append(f.Volumes, status.Volume{Name: m.Meter, Bytes: m.Month.Bytes, USD: m.Month.USD, Known: m.Month.Known})
	}
	return status.NewReport(f, from, now), nil
}
