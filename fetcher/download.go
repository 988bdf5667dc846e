package fetcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"

	"github.com/qsync/qsync/manifest"
)

// download fetches spans from all sources at once.
type download struct {
	restore *restore
	queue   *queue
	lanes   []*lane
	planned layout        // whose lengths the bytes to fetch are counted in
	limit   *rate.Limiter // nil means none
	log     *slog.Logger
}

// lane is a source in use: its connections and how it does.
type lane struct {
	source Source
	layout layout
	number int

	fetched     atomic.Int64 // bytes
	connections atomic.Int64 // under way
	allowed     atomic.Int64 // connections it may have; see tune.go

	mu       sync.Mutex
	failures int       // since the last chunk that arrived
	failing  time.Time // since when
	state    string    // why it is out of use
	last     error
}

// maxSources is how many sources the queue's bit sets have room for.
const maxSources = 63

// fetch downloads all missing chunks of the wanted files.
func (r *restore) fetch(ctx context.Context, wanted func(path string) bool) error {
	todo := r.missing(wanted)
	if len(todo) == 0 {
		return nil
	}
	volumes := r.volumes(todo)
	d := &download{restore: r, queue: newQueue(todo, len(r.sources)), planned: largest(volumes), log: r.log}
	r.progress.toFetch.Add(volumes[d.planned])
	if r.opts.RateLimit > 0 {
		d.limit = rate.NewLimiter(rate.Limit(r.opts.RateLimit), manifest.MaxFrameSize)
	}
	for i, s := range r.sources {
		if r.last[s] {
			d.queue.last |= 1 << i
		}
		d.lanes = append(d.lanes, &lane{source: s, layout: r.layouts[i], number: i})
	}
	r.progress.download.Store(d)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { d.queue.fail(context.Cause(ctx)) })
	defer stop()
	flushed := make(chan error, 1)
	go func() {
		err := r.ledger.keepFlushing(ctx)
		if err != nil {
			d.queue.fail(err)
		}
		flushed <- err
	}()
	d.run(ctx)
	err := d.queue.result(ctx)
	cancel()
	// Also what a failed download has brought is kept.
	if flushErr := errors.Join(<-flushed, r.ledger.flush()); err == nil {
		err = flushErr
	}
	return d.explain(err)
}

// explain adds what became of each source.
func (d *download) explain(err error) error {
	if !errors.Is(err, ErrNoSource) && !errors.Is(err, errMissing) {
		return err
	}
	var causes []error
	for _, l := range d.lanes {
		l.mu.Lock()
		if l.last != nil {
			causes = append(causes, l.last)
		}
		l.mu.Unlock()
	}
	return errors.Join(err, errors.Join(foldConsent(causes)...))
}

// connect works on spans over one connection after the other until there is
// nothing left to do or the lane has more connections than it is allowed.
func (d *download) connect(ctx context.Context, l *lane) {
	defer l.connections.Add(-1)
	var slots [atOnce]slot
	for i := range slots {
		slots[i] = slot{d.restore.buffers.get(), d.restore.buffers.get()}
		defer d.restore.buffers.put(slots[i].arrived)
		defer d.restore.buffers.put(slots[i].chunk)
	}
	for {
		w := d.queue.take(l.number, func() bool { return l.connections.Load() <= l.allowed.Load() })
		if w == nil {
			return
		}
		err := d.fetchWork(ctx, l, w, slots[:])
		lacks := 0
		if errors.Is(err, ErrNotFound) {
			lacks = l.layout.lost()
		}
		d.queue.finish(w, l.number, lacks)
		if err == nil || errors.Is(err, ErrNotFound) {
			if err != nil {
				l.note(err)
			}
			continue
		}
		if !d.judge(ctx, l, err) {
			return
		}
	}
}

// wrongChunkError says that a source sent bytes that are not the chunk's.
type wrongChunkError struct{ err error }

func (e *wrongChunkError) Error() string { return e.err.Error() }
func (e *wrongChunkError) Unwrap() error { return e.err }

// localError says that this machine, not a source, is in the way.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

const (
	// minFailures is how many requests in a row must fail, with no chunk in
	// between, for a source to be taken out of use.
	minFailures = 6
	// DefaultPatience is for how long they must have been failing: a web
	// server that is restarted fails all connections at once.
	DefaultPatience = 20 * time.Second
)

// judge decides what an error says about its source, waits if trying again makes
// sense, and reports whether it does.
func (d *download) judge(ctx context.Context, l *lane, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if _, local := errors.AsType[*localError](err); local || errors.Is(err, ErrChanged) {
		d.queue.fail(err)
		return false
	}
	failures, failing := l.fail(err)
	_, wrong := errors.AsType[*wrongChunkError](err)
	_, permanent := errors.AsType[*backoff.PermanentError](err)
	switch {
	case wrong:
		d.log.Error("source sends wrong data and is not used any more", "source", l.source.String(), "err", err)
		d.dropLane(l, "sent wrong data")
		return false
	case permanent:
		d.log.Warn("source refuses and is not used any more", "source", l.source.String(), "err", err)
		d.dropLane(l, "refuses")
		return false
	case failures >= minFailures && failing >= d.restore.opts.patience():
		d.log.Warn("source keeps failing and is not used any more", "source", l.source.String(), "err", err)
		d.dropLane(l, "keeps failing")
		return false
	default:
		d.log.Debug("request failed, trying again", "source", l.source.String(), "err", err)
		pause := &backoff.ExponentialBackOff{
			InitialInterval: 100 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5, MaxInterval: 5 * time.Second,
		}
		pause.Reset()
		for range min(failures, minFailures) - 1 {
			pause.NextBackOff()
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause.NextBackOff()):
			return true
		}
	}
}

func (l *lane) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = err
}

// fail counts a failure and returns how many there have been in a row, and for
// how long.
func (l *lane) fail(err error) (failures int, failing time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = err
	if l.failures == 0 {
		l.failing = time.Now()
	}
	l.failures++
	return l.failures, time.Since(l.failing)
}

func (l *lane) recovered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = 0
}

func (d *download) dropLane(l *lane, state string) {
	l.mu.Lock()
	l.state = state
	l.mu.Unlock()
	d.queue.drop(l.number)
}

// atOnce is how many chunks of a stream are hashed at once: see [manifest.SumPair].
const atOnce = 2

// slot has the room for a chunk, and for the frame that it may arrive in.
type slot struct{ arrived, chunk []byte }

// fetchWork streams a span and writes each chunk once its hash is right. The
// first chunks of a stream that breaks are kept.
func (d *download) fetchWork(ctx context.Context, l *lane, w *work, slots []slot) error {
	r := d.restore
	f := &r.table.index.Files[w.file]
	next, end := d.queue.rest(w)
	span := l.layout.span(w.file, next, end)
	fail := func(chunk int, err error) error {
		return fmt.Errorf("fetch %s from %s: chunk %d of %s: %w", span.Key, l.source, chunk, f.Path, err)
	}
	out, err := r.tree.open(w.file)
	if err != nil {
		return &localError{err}
	}
	defer out.Close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the request of work that was cut short
	d.queue.begun(w, cancel)
	if err := d.throttle(ctx, l.layout.length(w.file, next)); err != nil {
		return err
	}
	body, err := l.source.Open(ctx, span)
	if err != nil {
		return fail(next, err)
	}
	defer body.Close()
	for more := true; more; {
		arrived, readErr := d.read(ctx, l, w, body, slots[:d.queue.ahead(w, len(slots))])
		kept, err := d.keep(out, l, w, arrived)
		more = d.queue.advance(w, kept)
		if kept > 0 {
			l.recovered()
		}
		if err = cmp.Or(err, readErr); err != nil {
			return fail(w.next, err)
		}
	}
	return nil
}

// read reads the next chunks of w as they travel, one into each slot, and
// returns the slots up to the first error.
func (d *download) read(ctx context.Context, l *lane, w *work, body io.Reader, slots []slot) (arrived []slot, err error) {
	for i := range slots {
		number := w.next + i
		length := l.layout.length(w.file, number)
		if number > w.begin { // that one has waited before the request
			if err := d.throttle(ctx, length); err != nil {
				return slots[:i], err
			}
		}
		slots[i].arrived = slots[i].arrived[:length]
		n, err := io.ReadFull(body, slots[i].arrived)
		l.fetched.Add(int64(n))
		d.restore.progress.fetched.Add(int64(n))
		if err != nil {
			return slots[:i], err
		}
	}
	return slots, nil
}

// keep checks the next chunks of w, which have arrived, and writes them. It
// returns how many are done, up to the first error.
func (d *download) keep(out *os.File, l *lane, w *work, arrived []slot) (kept int, err error) {
	r := d.restore
	f := &r.table.index.Files[w.file]
	var chunks [atOnce][]byte // nil where it is held already
	var broken error
	for i, s := range arrived {
		if r.held.has(r.table.first[w.file] + int64(w.next+i)) {
			continue
		}
		if chunks[i], broken = l.layout.unpack(s.arrived, s.chunk, f.ChunkLength(w.next+i)); broken != nil {
			arrived = arrived[:i]
			break
		}
	}
	var sums [atOnce]manifest.Digest
	if r.table.digests {
		sums[0], sums[1] = manifest.SumPair(chunks[0], chunks[1])
	}
	for i := range arrived {
		number := w.next + i
		if chunks[i] == nil {
			continue
		}
		if r.table.digests && sums[i] != f.Chunk(number) {
			return i, &wrongChunkError{fmt.Errorf("digest is %s, want %s", sums[i], f.Chunk(number))}
		}
		if err := r.tree.writeChunk(out, w.file, number, chunks[i]); err != nil {
			return i, &localError{err}
		}
		if err := r.have(w.file, number); err != nil {
			return i, &localError{err}
		}
		r.progress.toFetch.Add(int64(l.layout.length(w.file, number) - d.planned.length(w.file, number)))
	}
	if broken != nil {
		broken = &wrongChunkError{broken}
	}
	return len(arrived), broken
}

func (d *download) throttle(ctx context.Context, n int) error {
	if d.limit == nil {
		return nil
	}
	return d.limit.WaitN(ctx, n)
}

func (d *download) sourceProgress() []SourceProgress {
	all := make([]SourceProgress, len(d.lanes))
	for i, l := range d.lanes {
		l.mu.Lock()
		all[i] = SourceProgress{l.source.String(), l.fetched.Load(), int(l.connections.Load()), l.state}
		l.mu.Unlock()
	}
	return all
}
