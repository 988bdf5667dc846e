package term

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Progress is how far a run has come.
type Progress struct {
	Phase   string   // what is being done: fetching
	Done    int64    // bytes
	Total   int64    // bytes; 0 if not known
	Sources []string // from where
}

// Display shows progress as fits who is looking: a bar on a terminal, a line
// every few seconds elsewhere, events with --json.
type Display struct {
	out *Output

	mu     sync.Mutex
	meter  meter
	last   Progress
	shown  time.Time
	closed bool // for good
	off    bool // for a while

	bars *mpb.Progress
	bar  *mpb.Bar
	text atomic.Value // what stands behind the bar; not under mu, which Show holds while it waits for the bar
}

const (
	lineInterval  = 5 * time.Second
	eventInterval = time.Second
)

// NewDisplay returns a display that shows nothing yet.
func (o *Output) NewDisplay() *Display { return &Display{out: o} }

// Show takes note of how far the run is. It is safe for concurrent use.
func (d *Display) Show(p Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.off {
		return
	}
	newPhase := p.Phase != d.last.Phase
	if newPhase {
		d.meter = meter{}
	}
	d.last = p
	now := time.Now()
	d.meter.add(now, p.Done)
	switch {
	case d.out.JSON:
		if newPhase || now.Sub(d.shown) >= eventInterval {
			d.shown = now
			d.out.Event(d.event())
		}
	case isTerminal(d.out.stderr):
		d.showBar(p)
	case newPhase || now.Sub(d.shown) >= lineInterval:
		d.shown = now
		d.out.Say("%s: %s", d.out.program, d.line())
	}
}

// Close takes the display off the terminal. Further calls do nothing.
func (d *Display) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.clear()
}

// Without calls f while nothing is displayed, so that it can ask a question.
func (d *Display) Without(f func() error) error {
	d.switchOff(true)
	defer d.switchOff(false)
	return f()
}

func (d *Display) switchOff(off bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = off
	d.clear()
}

// clear takes the bar off the terminal.
func (d *Display) clear() {
	if d.bars == nil {
		return
	}
	d.out.printAbove(nil)
	d.bar.Abort(true)
	d.bars.Wait()
	d.bars, d.bar = nil, nil
}

func (d *Display) showBar(p Progress) {
	d.text.Store(" " + d.line())
	if d.bars == nil {
		d.bars = mpb.New(mpb.WithOutput(d.out.stderr), mpb.WithWidth(30))
		d.bar = d.bars.AddBar(0, mpb.BarRemoveOnComplete(), mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			return d.text.Load().(string)
		})))
		d.out.printAbove(d.bars)
	}
	d.bar.SetTotal(p.Total+1, false) // a bar that reaches its total is over; there may be another phase
	d.bar.SetCurrent(p.Done)
}

type progressEvent struct {
	Event      string   `json:"event"`
	Phase      string   `json:"phase"`
	DoneBytes  int64    `json:"done_bytes"`
	TotalBytes int64    `json:"total_bytes"`
	Rate       int64    `json:"bytes_per_second"`
	ETASeconds *int64   `json:"eta_seconds,omitempty"`
	Sources    []string `json:"sources,omitempty"`
}

func (d *Display) event() progressEvent {
	p := d.last
	e := progressEvent{
		Event: "progress", Phase: p.Phase, DoneBytes: p.Done, TotalBytes: p.Total,
		Rate: int64(d.meter.rate()), Sources: p.Sources,
	}
	if eta, ok := d.meter.eta(p.Total); ok {
		seconds := int64(eta.Seconds())
		e.ETASeconds = &seconds
	}
	return e
}

func (d *Display) line() string {
	p := d.last
	parts := []string{p.Phase}
	if p.Total > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s", Size(p.Done), Size(p.Total)))
	} else if p.Done > 0 {
		parts = append(parts, Size(p.Done))
	}
	if rate := d.meter.rate(); rate > 0 {
		parts = append(parts, Size(int64(rate))+"/s")
	}
	if eta, ok := d.meter.eta(p.Total); ok {
		parts = append(parts, eta.Round(time.Second).String()+" left")
	}
	if len(p.Sources) > 0 {
		parts = append(parts, "from "+strings.Join(p.Sources, ", "))
	}
	return strings.Join(parts, " · ")
}
