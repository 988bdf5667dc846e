package agent

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says at which moments a channel is published: its slots.
type Schedule struct {
	text string
	spec cron.Schedule
	zone *time.Location
}

// ParseSchedule reads a schedule as the configuration has it, in the time zone
// of that name.
func ParseSchedule(spec, zone string) (*Schedule, error) {
	location, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", zone, err)
	}
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w", spec, err)
	}
	s := &Schedule{text: spec + " " + zone, spec: parsed, zone: location}
	if s.spec.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("schedule %q: there is no such day", spec)
	}
	return s, nil
}

// String is the schedule and its time zone, as they are configured.
func (s *Schedule) String() string { return s.text }

// Next is the first slot after t.
func (s *Schedule) Next(t time.Time) time.Time {
	return s.spec.Next(t.In(s.zone))
}

// latest is the last slot after from that is not after now.
func (s *Schedule) latest(from, now time.Time) (slot time.Time, ok bool) {
	if every, ok := s.spec.(cron.ConstantDelaySchedule); ok {
		from = from.Truncate(time.Second)
		past := now.Sub(from)
		return now.Add(-(past % every.Delay)).In(s.zone), past >= every.Delay
	}
	// Backwards in growing steps: from may be years ago, with a slot each minute.
	for step := time.Minute; ; step *= 2 {
		start := now.Add(-step)
		if start.Before(from) {
			start = from
		}
		for next := s.Next(start); !next.After(now); next = s.Next(next) {
			slot, ok = next, true
		}
		if ok || start.Equal(from) {
			return slot, ok
		}
	}
}
