package agent

import (
	"time"

	"github.com/qsync/qsync/publish/status"
)

// slots is where a channel stands in its schedule. Everything is decided from
// the wall clock and from what is on record, so that neither a restart nor a clock that
// jumps skips a slot or serves it twice. Of several slots that were missed only the
// latest one is served.
type slots struct {
	schedule *Schedule
	since    time.Time     // when this agent began: what was due before is late already
	served   time.Time     // no slot up to then needs to be served
	delay    time.Duration // of the next slot, drawn at random
	tried    time.Time     // the slot that was last run for in vain
	failures int           // of that slot
	retry    time.Time     // when it is run for again
}

// next is the slot to be served next, and the time to do it.
func (s *slots) next(now time.Time) (slot, at time.Time) {
	slot, due := s.schedule.latest(s.served, now)
	if !due {
		slot = s.schedule.Next(s.served)
	}
	following := s.schedule.Next(slot)
	if slot.Equal(s.tried) {
		return slot, earlier(s.retry, following)
	}
	at = later(slot, s.since).Add(s.delay)
	// A delay beyond the next slot would put off every slot.
	if last := following.Add(-time.Second); slot.After(s.since) && at.After(last) {
		at = last
	}
	return slot, at
}

// late is from when on a slot counts as missed.
const late = time.Minute

// trigger is what a run for the slot is made for.
func (s *slots) trigger(slot, now time.Time) status.Trigger {
	if now.Sub(slot) > late+s.delay && !slot.Equal(s.tried) {
		return status.CatchUp
	}
	return status.Scheduled
}

// clockSetBack reports whether a whole slot lies between now and the one that was
// served last: then the clock was wrong, and what was served must be read anew.
func (s *slots) clockSetBack(now time.Time) bool {
	return s.schedule.Next(now).Before(s.served)
}

// ended takes note of a run that has ended.
func (s *slots) ended(r status.Run, now time.Time) {
	end := later(r.Start, r.End) // one that was killed has none
	if end.After(now) {
		return // it was recorded by a wrong clock
	}
	switch r.Outcome {
	case status.Published:
		if r.Trigger == status.ByHand {
			s.serve(end)
		}
		s.serve(r.Slot)
	case status.Lost: // somebody else has served it
		s.serve(r.Slot)
	case status.Failed, status.Postponed, status.Interrupted:
		if !r.Slot.IsZero() {
			s.fail(r.Slot, end, r.Outcome)
		}
	}
}

// serve takes note that no slot up to t is due any more.
func (s *slots) serve(t time.Time) { s.served = later(s.served, t) }

func (s *slots) fail(slot, end time.Time, how status.Outcome) {
	if !slot.Equal(s.tried) {
		s.tried, s.failures = slot, 0
	}
	s.failures++
	wait := retryDelay(s.failures)
	if how == status.Interrupted {
		// Not the run's fault, as a rule. One that takes the machine down again and
		// again must wait all the same.
		wait = retryDelay(s.failures - 1)
	}
	s.retry = end.Add(wait)
}

// What failed is tried again after retryFirst, then after twice as long each
// time, up to retryMost.
const (
	retryFirst = 5 * time.Minute
	retryMost  = time.Hour
)

// retryDelay is how long to wait after so many failures in a row.
func retryDelay(failures int) time.Duration {
	if failures < 1 {
		return 0
	}
	return min(retryFirst<<min(failures-1, 8), retryMost)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
