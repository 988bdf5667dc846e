package term

import "time"

// meterWindow is the span of time that a rate is the mean of: long enough not
// to flicker, short enough to notice a source that has gone.
const meterWindow = 15 * time.Second

// meter measures the rate of a growing number of bytes.
type meter struct {
	samples []sample
}

type sample struct {
	at   time.Time
	done int64
}

func (m *meter) add(at time.Time, done int64) {
	if n := len(m.samples); n >= 2 && at.Sub(m.samples[n-2].at) < meterWindow/30 {
		m.samples[n-1] = sample{at, done}
	} else {
		m.samples = append(m.samples, sample{at, done})
	}
	for len(m.samples) > 2 && at.Sub(m.samples[0].at) > meterWindow {
		m.samples = m.samples[1:]
	}
}

// rate is bytes per second, 0 while it is not known.
func (m *meter) rate() float64 {
	n := len(m.samples)
	if n < 2 {
		return 0
	}
	first, last := m.samples[0], m.samples[n-1]
	span := last.at.Sub(first.at).Seconds()
	if span <= 0 || last.done <= first.done {
		return 0
	}
	return float64(last.done-first.done) / span
}

// eta is how long it takes to reach total at this rate, if that can be said.
func (m *meter) eta(total int64) (time.Duration, bool) {
	rate := m.rate()
	if rate == 0 || total == 0 {
		return 0, false
	}
	left := max(0, total-m.samples[len(m.samples)-1].done)
	return time.Duration(float64(left) / rate * float64(time.Second)), true
}
