package fetcher

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qsync/qsync/manifest"
)

func always() bool { return true }

func TestQueueStealsHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue([]*work{{end: 16}}, 2)
		slow := q.take(0, always)
		time.Sleep(3 * time.Second)
		q.advance(slow, 1) // one chunk in three seconds
		fast := q.take(1, always)
		if fast == nil || fast.next != 9 || fast.end != 16 || slow.next != 1 || slow.end != 9 {
			t.Fatalf("slow has %+v, fast has %+v", slow, fast)
		}
		for q.advance(fast, 1) {
		}
		q.finish(fast, 1, 0)
		for q.advance(slow, 1) {
		}
		q.finish(slow, 0, 0)
		if err := q.result(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestQueueDoublesWhatStandsStill(t *testing.T) {
	for _, stuckWins := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue([]*work{{end: 1}}, 2)
			stuck := q.take(0, always)
			cancelled := map[*work]bool{}
			q.begun(stuck, func() { cancelled[stuck] = true })
			time.Sleep(doubleAfter + time.Second)
			if same := q.steal(0); same != nil {
				t.Fatalf("the source that lets it stand still is asked again: %+v", same)
			}
			double := q.take(1, always)
			if double == nil || double.next != 0 || double.end != 1 {
				t.Fatalf("double is %+v", double)
			}
			q.begun(double, func() { cancelled[double] = true })
			first, second := double, stuck
			if stuckWins {
				first, second = stuck, double
			}
			q.advance(first, 1)
			q.finish(first, 0, 0)
			if !cancelled[second] || cancelled[first] {
				t.Errorf("cancelled: %v", cancelled)
			}
			q.finish(second, 1, 0) // it gives up, and nothing is left to do again
			if err := q.result(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestQueueDoublesAtTheOnlySource asks a source again whose answer stands still: there
// is no other one, and a new connection may do better.
func TestQueueDoublesAtTheOnlySource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue([]*work{{end: 1}}, 2)
		q.drop(1)
		stuck := q.take(0, always)
		time.Sleep(doubleAfter + time.Second)
		if double := q.steal(0); double == nil || double.twin != stuck {
			t.Errorf("double is %+v", double)
		}
	})
}

// TestQueueFailedTwin has one of two requests for the same chunks fail: the
// other goes on, and only when it fails too are they asked for again.
func TestQueueFailedTwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue([]*work{{end: 1}}, 2)
		stuck := q.take(0, always)
		time.Sleep(doubleAfter + time.Second)
		double := q.take(1, always)
		q.finish(double, 1, manifest.SegmentChunks)
		if len(q.waiting) != 0 || !q.active[stuck] {
			t.Fatalf("waiting %d, active %v", len(q.waiting), q.active)
		}
		q.finish(stuck, 0, 0)
		if len(q.waiting) != 1 || q.waiting[0].without != 1<<1 {
			t.Fatalf("waiting %+v", q.waiting)
		}
	})
}

func TestQueueEnds(t *testing.T) {
	tests := map[string]struct {
		do   func(q *queue)
		want error
	}{
		"no source has it": {func(q *queue) {
			for source := range 2 {
				q.finish(q.take(source, always), source, manifest.SegmentChunks)
			}
		}, errMissing},
		"all sources dropped": {func(q *queue) { q.drop(0); q.drop(1) }, ErrNoSource},
		"the only one that has it is dropped": {func(q *queue) {
			q.finish(q.take(0, always), 0, manifest.SegmentChunks)
			q.drop(1)
		}, errMissing},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			q := newQueue([]*work{{end: 1}}, 2)
			test.do(q)
			if err := q.result(context.Background()); !errors.Is(err, test.want) {
				t.Errorf("error is %v, want %v", err, test.want)
			}
			if w := q.take(0, always); w != nil {
				t.Errorf("it still gives work: %+v", w)
			}
		})
	}
}

// TestQueueLast: a source that is to be asked last gets nothing to do as long as another
// one lives that has it, however slow that is, and does not take its share.
func TestQueueLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue([]*work{{end: 16}, {file: 1, end: 16, without: 1 << 0}}, 2)
		q.last = 1 << 1
		slow := q.take(0, always)
		if n := q.liveSources(); n != 1 || slow.file != 0 {
			t.Errorf("%d sources share the work", n)
		}
		time.Sleep(doubleAfter + stealAfter)
		other := q.take(1, always)
		if other == nil || other.file != 1 {
			t.Fatalf("what the first one lacks is not asked for: %+v", other)
		}
		q.advance(other, 16)
		q.finish(other, 1, 0)
		if w := q.steal(1); w != nil {
			t.Errorf("it takes %+v away from another one that lives", w)
		}
		q.drop(0)
		q.finish(slow, 0, 0)
		if w := q.take(1, always); w != slow {
			t.Errorf("what the first one has left is not asked for: %+v", w)
		}
	})
}
