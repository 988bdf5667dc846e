package agent

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/probe"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish/status"
)

// probing reads each channel at each location from time to time, as those who fetch read
// it, and puts on record what it sees.
type probing struct {
	*beside
	log   *slog.Logger
	noted func() // there is something new on record
}

const (
	// probesAtOnce is how many probes of a location there are at a time. Each needs some
	// 4 MiB.
	probesAtOnce = 4
	// probeSpread is how far apart the first probes of channels begin.
	probeSpread = 2 * time.Second
	// maxProbePatience is for how long what has failed is tried again at most.
	maxProbePatience = 10 * time.Second
	// samplesAhead is how many probes go by before an index is read again.
	samplesAhead = 32
	// gatewayStart is how long the node of IPFS may take to start with all that it has, or
	// to make known what is the first of a channel.
	gatewayStart = 5 * time.Minute
)

func newProbing(log *slog.Logger, noted func()) *probing {
	p := &probing{log: log, noted: noted}
	p.beside = newWorkers(p.start)
	return p
}

// start begins to probe. Each place has a rhythm of its own: a location that lets everybody
// wait holds up no other.
func (p *probing) start(ctx context.Context, _ *beside, cfg *config.Agent, workers *sync.WaitGroup) {
	probed := map[[2]string]bool{}
	sharedAt, room := map[string]*shared{}, probe.NewRoom()
	for _, channel := range cfg.ChannelNames() {
		if cfg.Probe.Off {
			break
		}
		for _, v := range newVisits(cfg, channel, p.log) {
			location := v.place.Location
			if sharedAt[location] == nil {
				sharedAt[location] = newShared()
			}
			v.shared, v.room, v.noted = sharedAt[location], room, p.noted
			probed[[2]string{channel, location}] = true
			workers.Go(func() { v.run(ctx) })
		}
	}
	workers.Go(func() {
		keep := func(channel, location string) bool { return probed[[2]string{channel, location}] }
		if err := status.ProbesIn(cfg.State).Keep(clock(), keep); err != nil {
			p.log.Error("what is not probed any more is not forgotten", "error", err)
		}
		p.noted()
	})
}

// shared is what the visits of a location share, whatever channels they are to.
type shared struct {
	slots    *semaphore.Weighted
	failures atomic.Int64 // of probes in a row, of any channels
}

func newShared() *shared { return &shared{slots: semaphore.NewWeighted(probesAtOnce)} }

// enough is how many failures in a row there are of a location that is down for all: then
// nothing more is tried again, so that all channels are seen in time.
const enough = 2

// visits are the probes of a place.
type visits struct {
	config *config.Agent
	place  *probe.Place
	record *status.Probes
	shared *shared
	room   *semaphore.Weighted
	began  time.Time // when there was something to probe
	log    *slog.Logger
	noted  func()

	known     bool // it was probed before
	down      bool // the last time
	keys      []byte
	keysSince time.Time
}

// newVisits are those of a channel.
func newVisits(cfg *config.Agent, channel string, log *slog.Logger) (all []*visits) {
	for _, place := range places(cfg, channel) {
		all = append(all, &visits{
			config: cfg, place: place, shared: newShared(), record: status.ProbesIn(cfg.State),
			log: log.With("channel", channel, "location", place.Location),
		})
	}
	return all
}

// run probes until ctx ends. Probes are not quite as far apart as they should be, so that
// those of several agents, and of channels that began together, do not meet.
func (v *visits) run(ctx context.Context) {
	interval := time.Duration(v.config.Probe.Interval)
	wait := rand.N(min(interval, probeSpread*time.Duration(len(v.config.Channels))))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		begin := time.Now()
		if v.shared.slots.Acquire(ctx, 1) != nil {
			return
		}
		err := v.look(ctx)
		v.shared.slots.Release(1)
		if err != nil && ctx.Err() == nil {
			v.log.Error("the location cannot be probed", because(err)...)
		}
		wait = max(0, interval-rand.N(interval/10+1)-time.Since(begin))
	}
}

// look probes once. What is published is looked at first: a head that is older than that
// is behind.
func (v *visits) look(ctx context.Context) error {
	reader, published, err := newReader(ctx, v.config, v.place.Channel, filepath.Join(v.config.State, "probe"))
	if err != nil {
		return err
	}
	if !published {
		if known, err := v.wasSeen(); err != nil || !known {
			return err // its first run is to come
		}
	}
	if v.began.IsZero() {
		v.began = time.Now()
	}
	if v.known && !bytes.Equal(v.keys, reader.Keys) {
		v.keysSince = time.Now()
	}
	v.keys, reader.KeysSince = reader.Keys, v.keysSince
	reader.Sample, reader.Ahead, reader.Room = sampleOf(v.config, len(v.config.Channels)), samplesAhead, v.room
	if v.shared.failures.Load() >= enough {
		reader.Patience = 0
	}
	seen, err := reader.Probe(ctx, v.place)
	if err != nil {
		return err
	}
	if seen.OK() {
		v.shared.failures.Store(0)
	} else {
		v.shared.failures.Add(1)
	}
	return v.note(seen)
}

// wasSeen reports whether the place is on record.
func (v *visits) wasSeen() (bool, error) {
	all, err := v.record.Locations()
	return slices.ContainsFunc(all, func(l status.Location) bool {
		return l.Last.Channel == v.place.Channel && l.Last.Location == v.place.Location
	}), err
}

// note puts a probe on record, and says what has changed.
func (v *visits) note(seen status.Probe) error {
	if seen.Location == gatewayName && !seen.OK() && time.Since(v.began) < gatewayStart {
		return nil
	}
	if err := v.record.Note(seen); err != nil {
		return fmt.Errorf("put on record what was seen: %w", err)
	}
	changed := !v.known || v.down == seen.OK()
	switch {
	case changed && !seen.OK():
		v.log.Warn("the location is down", "error", seen.Error)
	case changed && v.known:
		v.log.Info("the location is up again", "version", seen.Version)
	default:
		v.log.Debug("the location was probed", "version", seen.Version, "head_seconds", seen.HeadSeconds, "bytes_per_second", seen.BytesPerSecond)
	}
	v.known, v.down = true, !seen.OK()
	if changed {
		v.noted()
	}
	return nil
}

// sampleOf is how much a probe of one of so many channels reads.
func sampleOf(a *config.Agent, channels int) int64 {
	return max(manifest.ChunkSize, int64(a.Probe.Sample)/int64(channels))
}

// newReader is who probes a channel, and knows the head that is published; published is
// false if there is none. A target that does not answer is for its probe to find.
func newReader(ctx context.Context, a *config.Agent, channel, marks string) (r *probe.Reader, published bool, err error) {
	publisher, err := NewPublisher(a, nil)
	if err != nil {
		return nil, false, err
	}
	r = &probe.Reader{
		Policy: publisher.Policy, Marks: trust.Marks{Dir: marks},
		Patience: min(maxProbePatience, time.Duration(a.Probe.Interval)/4),
	}
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	head, err := standingHead(ctx, publisher, channel)
	if err != nil {
		return r, true, nil // see above
	}
	if head == nil {
		return r, false, nil
	}
	if r.Keys, _, err = publisher.Targets[0].Load(ctx, manifest.KeysKey); err != nil {
		r.Keys = nil
	}
	return r, true, r.Note(head)
}
