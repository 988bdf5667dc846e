package agent

import (
	"testing"
	"time"

	"github.com/qsync/qsync/publish/status"
)

func schedule(t *testing.T, spec, zone string) *Schedule {
	t.Helper()
	s, err := ParseSchedule(spec, zone)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.DateTime, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func TestSlotsNext(t *testing.T) {
	for name, c := range map[string]struct {
		spec, zone       string // "" is UTC
		served, now      string
		wantSlot, wantAt string
	}{
		"not due":                    {"0 4 * * *", "", "2026-11-22 04:00:00", "2026-11-22 21:00:00", "2026-11-23 04:00:00", "2026-11-23 04:00:00"},
		"due this second":            {"0 4 * * *", "", "2026-11-22 04:00:00", "2026-11-23 04:00:00", "2026-11-23 04:00:00", "2026-11-23 04:00:00"},
		"a second before":            {"0 4 * * *", "", "2026-11-22 04:00:00", "2026-11-23 03:59:59", "2026-11-23 04:00:00", "2026-11-23 04:00:00"},
		"of many missed the latest":  {"0 * * * *", "", "2026-10-01 00:00:00", "2026-11-23 03:59:59", "2026-11-23 03:00:00", "2026-11-23 03:00:00"},
		"years of minutes missed":    {"* * * * *", "", "1970-01-01 00:00:00", "2026-11-23 03:59:59", "2026-11-23 03:59:00", "2026-11-23 03:59:00"},
		"missed, and irregular":      {"0,10,20 4 * * *", "", "2026-11-21 04:20:00", "2026-11-22 09:00:00", "2026-11-22 04:20:00", "2026-11-22 04:20:00"},
		"missed, and rare":           {"0 4 29 2 *", "", "2020-02-29 04:00:00", "2026-11-23 03:59:59", "2024-02-29 04:00:00", "2024-02-29 04:00:00"},
		"every, not due":             {"@every 6h", "", "2026-11-22 21:03:05", "2026-11-23 03:03:04", "2026-11-23 03:03:05", "2026-11-23 03:03:05"},
		"every, missed":              {"@every 6h", "", "2026-11-22 21:03:05", "2026-11-24 00:00:00", "2026-11-23 21:03:05", "2026-11-23 21:03:05"},
		"every, years missed":        {"@every 1s", "", "1970-01-01 00:00:00", "2026-11-23 03:59:59", "2026-11-23 03:59:59", "2026-11-23 03:59:59"},
		"in its time zone":           {"0 4 * * *", "Europe/Berlin", "2026-11-22 03:00:00", "2026-11-22 21:00:00", "2026-11-23 03:00:00", "2026-11-23 03:00:00"},
		"summer time ends":           {"0 4 * * *", "Europe/Berlin", "2026-10-24 02:00:00", "2026-10-25 03:00:00", "2026-10-25 03:00:00", "2026-10-25 03:00:00"},
		"an hour that comes twice":   {"30 2 * * *", "Europe/Berlin", "2026-10-25 00:30:00", "2026-10-25 01:30:00", "2026-10-25 01:30:00", "2026-10-25 01:30:00"},
		"an hour that never comes":   {"30 2 * * *", "Europe/Berlin", "2026-03-28 01:30:00", "2026-03-29 12:00:00", "2026-03-30 00:30:00", "2026-03-30 00:30:00"},
		"clock set back, served":     {"0 4 * * *", "", "2026-11-23 04:00:00", "2026-11-23 03:58:00", "2026-11-24 04:00:00", "2026-11-24 04:00:00"},
		"clock set back and forward": {"0 4 * * *", "", "2026-11-23 04:00:00", "2026-11-23 04:01:00", "2026-11-24 04:00:00", "2026-11-24 04:00:00"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.zone == "" {
				c.zone = "UTC"
			}
			s := &slots{schedule: schedule(t, c.spec, c.zone), served: at(t, c.served)}
			slot, when := s.next(at(t, c.now))
			if !slot.Equal(at(t, c.wantSlot)) || !when.Equal(at(t, c.wantAt)) {
				t.Errorf("slot %s at %s, want %s at %s", slot.UTC(), when.UTC(), c.wantSlot, c.wantAt)
			}
		})
	}
}

func TestClockSetBack(t *testing.T) {
	hourly, every := schedule(t, "0 * * * *", "UTC"), schedule(t, "@every 6h", "UTC")
	for _, c := range []struct {
		schedule    *Schedule
		served, now string
		want        bool
	}{
		{hourly, "2026-11-22 04:00:00", "2026-11-22 04:30:00", false},
		{hourly, "2026-11-22 04:00:00", "2026-11-22 03:59:00", false},
		{hourly, "2026-11-22 04:00:00", "2026-11-22 03:00:00", false},
		{hourly, "2026-11-22 04:00:00", "2026-11-22 02:59:59", true},
		{every, "2026-11-22 04:00:00", "2026-11-21 22:00:00", false},
		{every, "2026-11-22 04:00:00", "2026-11-21 21:59:59", true},
		{every, "2027-11-22 04:00:00", "2026-11-21 21:59:59", true},
	} {
		s := &slots{schedule: c.schedule, served: at(t, c.served)}
		if got := s.clockSetBack(at(t, c.now)); got != c.want {
			t.Errorf("%s: served %s, now %s: %t", c.schedule, c.served, c.now, got)
		}
	}
}

// TestSlotsEnded gives the runs of a channel, and what is done next.
func TestSlotsEnded(t *testing.T) {
	run := func(outcome status.Outcome, slot, end string) status.Run {
		r := status.Run{Trigger: status.Scheduled, Start: at(t, end), End: at(t, end), Outcome: outcome}
		if slot == "" {
			r.Trigger = status.ByHand
		} else {
			r.Slot = at(t, slot)
		}
		return r
	}
	const four, five = "2026-11-22 04:00:00", "2026-11-22 05:00:00"
	for name, c := range map[string]struct {
		runs             []status.Run
		now              string
		wantSlot, wantAt string
	}{
		"published":                {[]status.Run{run(status.Published, four, "2026-11-22 04:10:00")}, "2026-11-22 04:11:00", five, five},
		"lost to another agent":    {[]status.Run{run(status.Lost, four, "2026-11-22 04:10:00")}, "2026-11-22 04:11:00", five, five},
		"lasted over the next":     {[]status.Run{run(status.Published, four, "2026-11-22 05:10:00")}, "2026-11-22 05:11:00", five, five},
		"failed":                   {[]status.Run{run(status.Failed, four, "2026-11-22 04:10:00")}, "2026-11-22 04:11:00", four, "2026-11-22 04:15:00"},
		"postponed":                {[]status.Run{run(status.Postponed, four, "2026-11-22 04:00:01")}, "2026-11-22 04:11:00", four, "2026-11-22 04:05:01"},
		"failed twice":             {[]status.Run{run(status.Failed, four, "2026-11-22 04:10:00"), run(status.Failed, four, "2026-11-22 04:20:00")}, "2026-11-22 04:21:00", four, "2026-11-22 04:30:00"},
		"not beyond the next slot": {[]status.Run{run(status.Failed, four, "2026-11-22 04:57:00")}, "2026-11-22 04:58:00", four, five},
		"failed, then the next":    {[]status.Run{run(status.Failed, four, "2026-11-22 04:57:00")}, five, five, five},
		"failures of two slots":    {[]status.Run{run(status.Failed, "2026-11-22 03:00:00", "2026-11-22 03:57:00"), run(status.Failed, four, "2026-11-22 04:10:00")}, "2026-11-22 04:11:00", four, "2026-11-22 04:15:00"},
		"interrupted once":         {[]status.Run{run(status.Interrupted, four, "2026-11-22 04:10:00")}, "2026-11-22 04:11:00", four, "2026-11-22 04:10:00"},
		"interrupted twice":        {[]status.Run{run(status.Interrupted, four, "2026-11-22 04:10:00"), run(status.Interrupted, four, "2026-11-22 04:11:00")}, "2026-11-22 04:11:30", four, "2026-11-22 04:16:00"},
		"published after a try":    {[]status.Run{run(status.Failed, four, "2026-11-22 04:10:00"), run(status.Published, four, "2026-11-22 04:20:00")}, "2026-11-22 04:21:00", five, five},
		"by hand, after the slot":  {[]status.Run{run(status.Published, "", "2026-11-22 04:00:20")}, "2026-11-22 04:01:00", five, five},
		"by hand, before the slot": {[]status.Run{run(status.Published, "", "2026-11-22 03:59:59")}, "2026-11-22 04:01:00", four, four},
		"by hand, failed":          {[]status.Run{run(status.Failed, "", "2026-11-22 04:00:20")}, "2026-11-22 04:01:00", four, four},
		"under way":                {[]status.Run{run(status.Running, four, "2026-11-22 04:00:00")}, "2026-11-22 04:01:00", four, four},
		"by a wrong clock":         {[]status.Run{run(status.Published, "2027-01-01 04:00:00", "2027-01-01 04:00:00")}, "2026-11-22 04:01:00", four, four},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slots{schedule: schedule(t, "0 * * * *", "UTC"), served: at(t, "2026-11-22 02:30:00")}
			for _, r := range c.runs {
				s.ended(r, at(t, c.now))
			}
			slot, when := s.next(at(t, c.now))
			if !slot.Equal(at(t, c.wantSlot)) || !when.Equal(at(t, c.wantAt)) {
				t.Errorf("slot %s at %s, want %s at %s", slot.UTC(), when.UTC(), c.wantSlot, c.wantAt)
			}
		})
	}
}

// TestRecall reads the record of an agent whose clock was wrong at first.
func TestRecall(t *testing.T) {
	runs, now := status.RunsIn(t.TempDir()), at(t, "2026-11-22 04:30:00")
	s := &slots{schedule: schedule(t, "0 * * * *", "UTC")}
	must(t, s.read(runs, demo, at(t, "2036-11-22 04:30:00")))
	if slot, _ := s.next(now); !slot.Equal(at(t, "2036-11-22 05:00:00")) || !s.clockSetBack(now) {
		t.Fatalf("next slot %s", slot)
	}
	s = &slots{schedule: s.schedule}
	must(t, s.read(runs, demo, now))
	if slot, _ := s.next(now); !slot.Equal(at(t, "2026-11-22 05:00:00")) || s.clockSetBack(now) {
		t.Errorf("next slot %s", slot)
	}
	// It is on record, so that the next agent makes up for what is missed from now on.
	s = &slots{schedule: s.schedule}
	must(t, s.read(runs, demo, at(t, "2026-11-22 06:30:00")))
	if slot, _ := s.next(at(t, "2026-11-22 06:30:00")); !slot.Equal(at(t, "2026-11-22 06:00:00")) {
		t.Errorf("next slot %s", slot)
	}
	// Another schedule has missed nothing.
	s = &slots{schedule: schedule(t, "15 * * * *", "UTC")}
	must(t, s.read(runs, demo, at(t, "2026-11-22 06:30:00")))
	if slot, _ := s.next(at(t, "2026-11-22 06:30:00")); !slot.Equal(at(t, "2026-11-22 07:15:00")) {
		t.Errorf("next slot %s", slot)
	}
}

func TestJitter(t *testing.T) {
	s := &slots{
		schedule: schedule(t, "@every 1h", "UTC"),
		since:    at(t, "2026-11-22 00:00:30"), served: at(t, "2026-11-22 00:00:00"),
		delay: 10 * time.Minute,
	}
	if slot, when := s.next(at(t, "2026-11-22 00:30:00")); !slot.Equal(at(t, "2026-11-22 01:00:00")) || when.Sub(slot) != s.delay {
		t.Errorf("slot %s at %s", slot, when)
	}
	s.delay = 90 * time.Minute // of which a new slot begins each hour
	if slot, when := s.next(at(t, "2026-11-22 00:30:00")); !slot.Equal(at(t, "2026-11-22 01:00:00")) || !when.Equal(at(t, "2026-11-22 01:59:59")) {
		t.Errorf("slot %s at %s: would be put off for ever", slot, when)
	}
	s.served, s.delay = at(t, "2026-11-21 00:00:00"), 10*time.Minute
	if _, when := s.next(at(t, "2026-11-22 00:00:31")); !when.Equal(s.since.Add(s.delay)) {
		t.Errorf("a missed run at %s: all agents that were off would come at the same time", when)
	}
}

func TestTrigger(t *testing.T) {
	s := &slots{schedule: schedule(t, "@every 1h", "UTC"), delay: 10 * time.Minute}
	slot := at(t, "2026-11-22 04:00:00")
	for after, want := range map[time.Duration]status.Trigger{
		0: status.Scheduled, 10*time.Minute + 30*time.Second: status.Scheduled, 12 * time.Minute: status.CatchUp,
	} {
		if got := s.trigger(slot, slot.Add(after)); got != want {
			t.Errorf("%s after the slot: %s", after, got)
		}
	}
}

func TestRetryDelay(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		0: 0, 1: 5 * time.Minute, 2: 10 * time.Minute, 3: 20 * time.Minute, 4: 40 * time.Minute, 5: time.Hour, 6: time.Hour, 1000: time.Hour,
	} {
		if got := retryDelay(failures); got != want {
			t.Errorf("after %d failures: %s", failures, got)
		}
	}
}

func TestParseSchedule(t *testing.T) {
	for _, c := range [][2]string{{"0 4 30 2 *", "UTC"}, {"4 o'clock", "UTC"}, {"0 4 * * *", "Mars/Olympus"}} {
		if s, err := ParseSchedule(c[0], c[1]); err == nil {
			t.Errorf("%s is read as %s", c, s)
		}
	}
}
