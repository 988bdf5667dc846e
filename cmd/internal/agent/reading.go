package agent

import (
	"context"
	"slices"
	"time"

	"github.com/qsync/qsync/publish/status"
)

// history is how many runs are looked at to tell which slots were served, and how
// often the last one was tried.
const history = 100

// reading finds out from the record where a channel stands in its schedule.
func (l *loop) reading(c *channel) job {
	cfg, schedule := c.agent, c.schedule
	s := &slots{schedule: schedule, since: clock(), delay: c.jitter()}
	return func(context.Context, *progress) func(time.Time) {
		err := s.read(status.RunsIn(cfg.State), c.name, clock())
		return func(now time.Time) {
			switch {
			case err != nil:
				l.Log.Error("where the channel stands in its schedule is not known", append([]any{"channel", c.name}, because(err)...)...)
				c.read.failed(now, repairInterval)
			case c.schedule == schedule: // and no other one since
				c.slots, c.read = s, attempts{}
			}
		}
	}
}

// read sets what is on record, and puts there from when on slots count.
func (s *slots) read(runs *status.Runs, channel string, now time.Time) error {
	anchored, err := s.recall(runs, channel, now)
	if err != nil || anchored {
		return err
	}
	return runs.SetAnchor(channel, status.Anchor{Schedule: s.schedule.String(), From: now})
}

// recall sets what is on record. It reports false if slots count from now on.
func (s *slots) recall(runs *status.Runs, channel string, now time.Time) (anchored bool, err error) {
	anchor, err := runs.Anchor(channel)
	if err != nil {
		return false, err
	}
	last, err := runs.Last(channel, history)
	if err != nil {
		return false, err
	}
	s.served = anchor.From
	anchored = anchor.Schedule == s.schedule.String() && !s.clockSetBack(now)
	if !anchored {
		s.served = now // a new schedule has missed nothing
	}
	for _, run := range slices.Backward(last) {
		s.ended(run, now)
	}
	return anchored, nil
}
