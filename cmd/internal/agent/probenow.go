package agent

import (
	"context"
	"os"

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
