package cdn

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/scripts/s3server"
)

const (
	fetchers = 200
	// versions are published one after the other, an interval or more apart, and fewer if
	// there is not the time for all.
	versions, interval, atMost = 10, time.Second, 20 * time.Second
	// maxAge is how long the CDN keeps heads.
	maxAge = time.Second
	// grace is how long what no head names lives on: longer than a head that still
	// names it is met, and too short for a slow fetcher.
	grace = 2 * time.Second
	// rate is what a fetcher gets, in bytes a second: without a limit as many as they
	// are would leave nothing to the publisher. slowRate is what every twentieth gets.
	// These come to an edge of the CDN that nobody else does, which does not have what
	// is gone at the origin before they ask.
	rate, slowRate = 320 << 10, 96 << 10
	// memory is what the fetchers' buffers are kept to.
	memory   = 2 << 30
	inMemory = "/dev/shm"
)

// TestSwapUnderLoad publishes version after version through a CDN that keeps heads
// for a second, while many restore and update from it, each as soon as it has ended.
// Whatever they meet, each must end with one version whole.
func TestSwapUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(memory))
	if _, err := os.Stat(inMemory); err == nil {
		t.Setenv("TMPDIR", inMemory) // of all that are involved
	}
	bucket := s3server.Start(t)
	bucket.Allow(t, "*", "s3:GetObject", "s3:ListBucket")
	edge, farEdge := Start(t, bucket, prefix, maxAge), Start(t, bucket, prefix, maxAge)
	p, stopPublisher := publishTo(t, bucket, interval, grace)

	o := &observer{t: t, p: p, seen: map[int]bool{}}
	var cold, all sync.WaitGroup
	done := make(chan struct{})
	stop := sync.OnceFunc(func() { close(done); all.Wait() })
	defer stop()
	base := t.TempDir()
	for i := range fetchers {
		f := &fetching{observer: o, url: edge.URL, dir: filepath.Join(base, fmt.Sprint(i)), rate: rate}
		first := cold.Done
		if i%20 == 0 {
			f.url, f.rate, first = farEdge.URL, slowRate, func() {}
		} else {
			cold.Add(1)
		}
		all.Go(func() {
			f.once(true)
			first()
			for n := 1; ; n++ {
				select {
				case <-done:
					return
				default:
					f.once(n%3 == 0)
				}
			}
		})
	}
	var coldOrigin, coldClients Traffic
	all.Go(func() {
		cold.Wait()
		coldOrigin, coldClients = edge.Origin(t), edge.Clients(t)
	})
	for start := time.Now(); p.version() < versions && time.Since(start) < atMost; {
		time.Sleep(interval)
	}
	stopPublisher()
	stop()

	origin, clients := edge.Origin(t), edge.Clients(t)
	t.Logf("mixed versions seen by %d concurrent fetches: %d", o.most, o.mixed)
	t.Logf("%d fetches, %d of them updates; %d of %d versions; the head was swapped during %d; the version was gone and the next one taken in %d",
		o.fetches, o.updates, len(o.seen), p.version(), o.swapped, o.gone.Load())
	t.Logf("the edge that most come to, cold, until each had fetched once: clients got %s, the origin sent %s in %d requests",
		size(coldClients), size(coldOrigin), coldOrigin.Requests)
	t.Logf("warm: clients got %s, the origin sent %s in %d requests",
		size(clients.minus(coldClients)), size(origin.minus(coldOrigin)), origin.minus(coldOrigin).Requests)
	// Less would be no proof of anything.
	if o.most != fetchers || len(o.seen) < 3 || o.swapped < fetchers || o.gone.Load() == 0 {
		t.Error("too little happened: see above")
	}
	if origin.Bytes*10 > clients.Bytes {
		t.Error("the origin sent more than a tenth of what clients got")
	}
}

func size(t Traffic) string { return humanize.IBytes(uint64(t.Bytes)) }

func (t Traffic) minus(u Traffic) Traffic { return Traffic{t.Requests - u.Requests, t.Bytes - u.Bytes} }

// observer sees what came of all fetches.
type observer struct {
	t    *testing.T
	p    *published
	gone atomic.Int64 // versions that were given up for the next

	mu      sync.Mutex
	running int
	most    int // that were running at the same time
	fetches int
	updates int
	swapped int // fetches during which the head was
	mixed   int
	seen    map[int]bool // versions
}

// begin is called before a fetch.
func (o *observer) begin() (newest int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.running++
	o.most = max(o.most, o.running)
	return o.p.version()
}

// end is called after a fetch of a version, which is 0 for none that was published.
func (o *observer) end(newest, version int, fresh bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.running--
	o.fetches++
	if !fresh {
		o.updates++
	}
	if newest != o.p.version() {
		o.swapped++
	}
	switch {
	case err != nil:
	case version == 0:
		o.mixed++
	default:
		o.seen[version] = true
	}
}

// Enabled implements [slog.Handler].
func (o *observer) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements [slog.Handler].
func (o *observer) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "going on with the next") {
		o.gone.Add(1)
	}
	return nil
}

// WithAttrs implements [slog.Handler].
func (o *observer) WithAttrs([]slog.Attr) slog.Handler { return o }

// WithGroup implements [slog.Handler].
func (o *observer) WithGroup(string) slog.Handler { return o }

// fetching restores and updates a directory.
type fetching struct {
	*observer
	url     string
	dir     string
	rate    int64
	version int // that is there
}

// once restores into nothing, or updates what is there.
func (f *fetching) once(fresh bool) {
	target := filepath.Join(f.dir, "db")
	if fresh {
		if err := os.RemoveAll(target); err != nil {
			f.t.Error(err)
		}
	}
	newest := f.begin()
	content, err := f.fetch(target)
	version := f.p.versionOf(content)
	f.end(newest, version, fresh, err)
	switch {
	case err != nil:
		f.t.Errorf("%s: %v", target, err)
	case version == 0:
		f.t.Errorf("%s: it is no version that was published", target)
	case version < f.version:
		f.t.Errorf("%s: version %d after %d", target, version, f.version)
	}
	f.version = version
}

func (f *fetching) fetch(target string) (content string, err error) {
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return "", err
	}
	from, err := source.Open(f.url)
	if err != nil {
		return "", err
	}
	log := slog.New(f.observer)
	_, err = fetcher.Run(f.t.Context(), fetcher.Options{
		Repository: &fetcher.Repository{
			Sources: []fetcher.Source{from}, Policy: f.p.policy, Marks: trust.Marks{Dir: filepath.Join(f.dir, "marks")}, Log: log,
		},
		Channel: channel, Target: target, Jobs: 1, RateLimit: f.rate, Log: log,
	})
	if err != nil {
		return "", err
	}
	return contentOf(target)
}
