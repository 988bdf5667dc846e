package fetcher

import (
	"context"
	"sync"
	"time"
)

const (
	// DefaultJobs is the most connections of a restore, over all sources.
	DefaultJobs = 16
	// startConnections is what each source begins with.
	startConnections = 4
	tuneInterval     = 500 * time.Millisecond
	// worthwhile is the factor by which throughput must grow for one more
	// round of connections to stay.
	worthwhile = 1.05
	// restTicks is how many intervals a lane stays as it is once it has settled.
	restTicks = 30
)

// run keeps each lane at the number of connections that serves best, until no
// work is left. It measures instead of assuming: a disk behind a link of
// 100 Mbit/s wants two, a CDN far away wants many.
func (d *download) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var connections, tuners sync.WaitGroup
	done := make(chan struct{})
	for _, l := range d.lanes {
		l.allowed.Store(min(startConnections, d.share()))
		grow := func() {
			for l.connections.Load() < l.allowed.Load() {
				l.connections.Add(1)
				connections.Go(func() { d.connect(ctx, l) })
			}
		}
		grow()
		tuners.Go(func() { d.tune(l, grow, done) })
	}
	d.queue.wait()
	close(done)
	tuners.Wait() // nobody starts connections now
	cancel()      // nobody waits for a source to recover either
	connections.Wait()
}

// share is the most connections that a source may have: its part of the jobs.
func (d *download) share() int64 {
	jobs := d.restore.opts.Jobs
	if jobs <= 0 {
		jobs = DefaultJobs
	}
	return max(1, int64(jobs/max(1, d.queue.liveSources())))
}

// tune climbs while more connections bring more bytes and steps back when they
// do not, then stays a while before it looks again.
func (d *download) tune(l *lane, grow func(), done <-chan struct{}) {
	tick := time.NewTicker(tuneInterval)
	defer tick.Stop()
	var before, best int64
	rest := 0 // ticks to stay as it is
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		now := l.fetched.Load()
		rate := now - before
		before = now
		allowed, most := l.allowed.Load(), d.share()
		switch {
		case rest > 0:
			if rest--; rest == 0 {
				best = 0
			}
		case rate == 0:
		case float64(rate) > worthwhile*float64(best):
			best = rate
			l.allowed.Store(min(2*allowed, most))
		default:
			l.allowed.Store(max(1, min(allowed/2, most)))
			rest = restTicks
		}
		grow()
		d.queue.wake()
	}
}
