package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
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
	// probesAtOnce bounds what probes need: of memory some 12 MiB each, while they read
	// an index.
	probesAtOnce = 4
	// probeSpread is how far apart the first probes of channels begin.
	probeSpread = 2 * time.Second
	// maxProbePatience is for how long what has failed is tried again at most.
	maxProbePatience = 10 * time.Second
	// samplesAhead is how many probes go by before an index is read again.
	samplesAhead = 32
	// gatewayStart is how long the node of IPFS may take to start, with all that it has.
	gatewayStart = 5 * time.Minute
)

func newProbing(log *slog.Logger, noted func()) *probing {
	p := &probing{log: log, noted: noted}
	p.beside = newWorkers(p.start)
	return p
}

// start begins to probe. Each channel has a rhythm of its own.
func (p *probing) start(ctx context.Context, _ *beside, cfg *config.Agent, workers *sync.WaitGroup) {
	probed := map[[2]string]bool{}
	slots := semaphore.NewWeighted(probesAtOnce)
	for _, channel := range cfg.ChannelNames() {
		if cfg.Probe.Off {
			break
		}
		r := newRounds(cfg, channel, slots, p.log, p.noted)
		for _, place := range r.places {
			probed[[2]string{channel, place.Location}] = true
		}
		workers.Go(func() { r.run(ctx) })
	}
	workers.Go(func() {
		keep := func(channel, location string) bool { return probed[[2]string{channel, location}] }
		if err := status.ProbesIn(cfg.State).Keep(clock(), keep); err != nil {
			p.log.Error("what is not probed any more is not forgotten", "error", err)
		}
		p.noted()
	})
}

// rounds are the probes of a channel.
type rounds struct {
	config  *config.Agent
	channel string
	places  []*probe.Place
	record  *status.Probes
	slots   *semaphore.Weighted
	began   time.Time
	log     *slog.Logger
	noted   func()

	mu   sync.Mutex
	down map[string]bool // locations that were, the last time; those that were not probed yet are missing
}

func newRounds(cfg *config.Agent, channel string, slots *semaphore.Weighted, log *slog.Logger, noted func()) *rounds {
	return &rounds{
		config: cfg, channel: channel, places: places(cfg, channel), record: status.ProbesIn(cfg.State), slots: slots,
		began: time.Now(), log: log.With("channel", channel), noted: noted, down: map[string]bool{},
	}
}

// run goes round until ctx ends. Rounds are not quite as far apart as they should be, so
// that those of several agents, and of channels that began together, do not meet.
func (r *rounds) run(ctx context.Context) {
	interval := time.Duration(r.config.Probe.Interval)
	wait := rand.N(min(interval, probeSpread*time.Duration(len(r.config.Channels))))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		begin := time.Now()
		r.round(ctx)
		wait = max(0, interval-rand.N(interval/10+1)-time.Since(begin))
	}
}

// round probes all places once. What is published is looked at first: a head that is
// older than that is behind.
func (r *rounds) round(ctx context.Context) {
	reader, published, err := newReader(ctx, r.config, r.channel, filepath.Join(r.config.State, "probe"))
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		r.log.Error("the locations cannot be probed", because(err)...)
		return
	}
	if !published && !r.known() {
		return // its first run is to come
	}
	reader.Sample = sampleOf(r.config, len(r.config.Channels))
	reader.Ahead = samplesAhead
	var group sync.WaitGroup
	for _, place := range r.places {
		group.Go(func() {
			if r.slots.Acquire(ctx, 1) != nil {
				return
			}
			defer r.slots.Release(1)
			seen, err := reader.Probe(ctx, place)
			if err == nil {
				err = r.note(seen)
			}
			if err != nil && ctx.Err() == nil {
				r.log.Error("what a probe has seen is not on record", append(because(err), "location", place.Location)...)
			}
		})
	}
	group.Wait()
}

// known reports whether the channel was probed before.
func (r *rounds) known() bool {
	all, err := r.record.Locations()
	if err != nil {
		r.log.Error("what was seen before cannot be read", "error", err)
	}
	for _, l := range all {
		if l.Last.Channel == r.channel {
			return true
		}
	}
	return false
}

// note puts a probe on record, and says what has changed.
func (r *rounds) note(seen status.Probe) error {
	if seen.Location == gatewayName && !seen.OK() && time.Since(r.began) < gatewayStart {
		return nil
	}
	if err := r.record.Note(seen); err != nil {
		return err
	}
	r.mu.Lock()
	was, known := r.down[seen.Location]
	r.down[seen.Location] = !seen.OK()
	r.mu.Unlock()
	log := r.log.With("location", seen.Location)
	switch {
	case !seen.OK() && !was:
		log.Warn("the location is down", "error", seen.Error)
	case seen.OK() && was:
		log.Info("the location is up again", "version", seen.Version)
	default:
		log.Debug("the location was probed", "version", seen.Version, "head_seconds", seen.HeadSeconds, "bytes_per_second", seen.BytesPerSecond)
	}
	if !known || !seen.OK() || was {
		r.noted()
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
	switch head, err := standingHead(ctx, publisher, channel); {
	case err != nil:
		return r, true, nil //nolint:nilerr // see above
	case head == nil:
		return r, false, nil
	default:
		return r, true, r.Note(head)
	}
}
