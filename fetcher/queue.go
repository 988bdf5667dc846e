package fetcher

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"time"
)

// work is a run of chunks of one segment that is to be fetched in one request.
type work struct {
	file      int
	next, end int    // chunks of the file; next moves on as they arrive
	without   uint64 // sources, by number, that do not have it

	// Of the request under way:
	source  int // whom it is asked of
	started time.Time
	touched time.Time          // when the last chunk arrived
	begin   int                // chunk that it started at
	cancel  context.CancelFunc // ends it
	twin    *work              // the same chunks, asked for elsewhere as well
}

// queue holds the work of a download. Work is somewhere: waiting, under way, or
// done.
type queue struct {
	mu      sync.Mutex
	changed *sync.Cond
	waiting []*work
	active  map[*work]bool
	live    uint64 // sources that still serve
	last    uint64 // sources that are asked only for what no other live one has
	err     error  // ends the download
}

func newQueue(waiting []*work, sources int) *queue {
	q := &queue{waiting: waiting, active: map[*work]bool{}, live: 1<<sources - 1}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// take waits for work that source can do. It returns nil when there will be no
// more: all is done, the source was dropped, or the download has failed.
func (q *queue) take(source int, wanted func() bool) *work {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.err != nil || q.live&(1<<source) == 0 || len(q.waiting)+len(q.active) == 0 || !wanted() {
			return nil
		}
		if i := q.choose(source); i >= 0 {
			w := q.waiting[i]
			copy(q.waiting[1:], q.waiting[:i])
			q.waiting = q.waiting[1:]
			q.start(w, source)
			return w
		}
		if w := q.steal(source); w != nil {
			return w
		}
		q.changed.Wait()
	}
}

// lookAhead is how far choose looks for a file of its own.
const lookAhead = 64

// choose finds the first work in the queue that source can do, or a little behind
// it one of a file that no other connection works on: two that write to one
// file wait for each other. It returns -1 if there is none.
func (q *queue) choose(source int) int {
	busy := map[int]bool{}
	for w := range q.active {
		busy[w.file] = true
	}
	first := -1
	for i, w := range q.waiting {
		if !q.mayAsk(source, w) {
			continue
		}
		if !busy[w.file] {
			return i
		}
		if first < 0 {
			first = i
		}
		if i-first >= lookAhead {
			break
		}
	}
	return first
}

// mayAsk reports whether a source is to be asked for work.
func (q *queue) mayAsk(source int, w *work) bool {
	if w.without&(1<<source) != 0 {
		return false
	}
	return q.last&(1<<source) == 0 || q.live&^q.last&^w.without == 0
}

func (q *queue) start(w *work, source int) {
	w.source = source
	w.started, w.begin = time.Now(), w.next
	w.touched, w.cancel, w.twin = w.started, func() {}, nil
	q.active[w] = true
}

const (
	// stealAfter is how long work must be expected to go on for its second half
	// to be given to an idle connection.
	stealAfter = 2 * time.Second
	// doubleAfter is how long work may stand still before an idle connection
	// tries the same.
	doubleAfter = 4 * time.Second
)

// steal finds something for an idle connection to do, so that one slow source
// does not hold up the end: half of the work that is expected to take longest,
// or else the same as a request that stands still.
func (q *queue) steal(source int) *work {
	var slowest, stuck *work
	longest := stealAfter
	for w := range q.active {
		left, got, age := w.end-w.next, w.next-w.begin, time.Since(w.started)
		if left < 1 || w.twin != nil || !q.mayAsk(source, w) {
			continue
		}
		// The source that lets it stand still is of no help, unless it is the only one.
		another := w.source != source || q.live&^w.without == 1<<source
		if time.Since(w.touched) > doubleAfter && another {
			stuck = w
		}
		if expected := age / time.Duration(got+1) * time.Duration(left); left > 1 && age > stealAfter && expected > longest {
			slowest, longest = w, expected
		}
	}
	switch {
	case slowest != nil:
		middle := slowest.next + (slowest.end-slowest.next+1)/2
		half := &work{file: slowest.file, next: middle, end: slowest.end, without: slowest.without}
		slowest.end = middle
		q.start(half, source)
		return half
	case stuck != nil:
		double := &work{file: stuck.file, next: stuck.next, end: stuck.end, without: stuck.without}
		q.start(double, source)
		double.twin, stuck.twin = stuck, double
		return double
	}
	return nil
}

// begun notes how to end the request for w.
func (q *queue) begun(w *work, cancel context.CancelFunc) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.cancel = cancel
}

// rest is which chunks of w are to be fetched.
func (q *queue) rest(w *work) (next, end int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return w.next, w.end
}

// ahead is how many chunks of w are wanted, at most so many.
func (q *queue) ahead(w *work, most int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return min(most, w.end-w.next)
}

// advance says that the next n chunks of w are done, and reports whether more of
// w is wanted.
func (q *queue) advance(w *work, n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.next += n
	w.touched = time.Now()
	return w.next < w.end && q.err == nil
}

// finish takes back work after a request for it ended, well or not. What is
// left of it waits again: the first chunks of that, which source lacks, for another one.
func (q *queue) finish(w *work, source, lacks int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.active[w] {
		return // its twin was faster
	}
	delete(q.active, w)
	if lacks > 0 {
		if w.twin == nil && w.end-w.next > lacks {
			behind := &work{file: w.file, next: w.next + lacks, end: w.end, without: w.without}
			q.waiting = append([]*work{behind}, q.waiting...)
			w.end = behind.next
		}
		w.without |= 1 << source
	}
	twin := w.twin
	if twin != nil {
		w.twin, twin.twin = nil, nil
		twin.without |= w.without
	}
	switch {
	case w.next < w.end && twin == nil:
		q.waiting = append([]*work{w}, q.waiting...)
	case w.next >= w.end && twin != nil:
		delete(q.active, twin)
		twin.cancel()
	}
	q.checkServed()
	q.changed.Broadcast()
}

// drop takes a source out of use.
func (q *queue) drop(source int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.live &^= 1 << source
	q.checkServed()
	q.changed.Broadcast()
}

// fail ends the download.
func (q *queue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.changed.Broadcast()
}

// wait returns when all work is done or the download has failed.
func (q *queue) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.err == nil && len(q.waiting)+len(q.active) > 0 {
		q.changed.Wait()
	}
}

// liveSources is how many sources share the work.
func (q *queue) liveSources() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if first := q.live &^ q.last; first != 0 {
		return bits.OnesCount64(first)
	}
	return bits.OnesCount64(q.live)
}

// wake lets waiting connections look again, at work to steal or at their number.
func (q *queue) wake() { q.changed.Broadcast() }

// errMissing says that no source has an object that the index names.
var errMissing = errors.New("no source has it")

// checkServed ends the download when there is work that no live source has.
func (q *queue) checkServed() {
	if q.err != nil {
		return
	}
	for _, w := range q.waiting {
		if q.live == 0 {
			q.err = ErrNoSource
			return
		}
		if q.live&^w.without == 0 {
			q.err = errMissing
			return
		}
	}
}

// result is how the download ended.
func (q *queue) result(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case q.err != nil:
		return q.err
	case len(q.waiting)+len(q.active) > 0:
		return fmt.Errorf("%w: %d spans are left", ErrNoSource, len(q.waiting)+len(q.active))
	}
	return nil
}

// missing makes the work for the chunks of the wanted files that are neither
// held nor holes, in the order of the index.
func (r *restore) missing(wanted func(path string) bool) (all []*work) {
	gap := r.layouts[0].gap() // the least: the work must suit every source
	for _, l := range r.layouts {
		gap = min(gap, l.gap())
	}
	for file := range r.table.index.Files {
		f := &r.table.index.Files[file]
		if !wanted(f.Path) {
			continue
		}
		for s := range f.SegmentCount() {
			first, n := f.SegmentSpan(s)
			var last *work
			passed := int64(0) // bytes behind last
			for i := first; i < first+n; i++ {
				switch {
				case r.held.has(r.table.first[file] + int64(i)), r.table.isHole(file, i):
					passed += int64(r.layouts[0].length(file, i))
				case last != nil && passed <= gap:
					last.end = i + 1
					passed = 0
				default:
					last = &work{file: file, next: i, end: i + 1}
					all = append(all, last)
					passed = 0
				}
			}
		}
	}
	return all
}

// volumes is how many bytes the work has by each layout that a source has.
func (r *restore) volumes(todo []*work) map[layout]int64 {
	bytes := map[layout]int64{}
	for _, l := range r.layouts {
		if _, known := bytes[l]; known {
			continue
		}
		var n int64
		for _, w := range todo {
			for i := w.next; i < w.end; i++ {
				n += int64(l.length(w.file, i))
			}
		}
		bytes[l] = n
	}
	return bytes
}

// largest is the layout with the most bytes.
func largest(volumes map[layout]int64) (most layout) {
	for l, n := range volumes {
		if most == nil || n > volumes[most] {
			most = l
		}
	}
	return most
}
