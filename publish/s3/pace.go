package s3

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// S3 takes thousands of requests a second for a prefix that is in use, and fewer
// for one that is new or suddenly busy: it answers 503 until it has spread the
// prefix over more machines. So the rate for each prefix begins low, grows
// while all is well, and is halved when the store asks for that.
const (
	firstRate = 500 // requests per second
	minRate   = 1
	maxRate   = 3000 // S3 takes 3,500 writes
	growth    = 1.25
	// rateStep is how long a rate is tried before it grows; what many requests say
	// within it is said once.
	rateStep = time.Second
)

// pace is the rate of requests for one prefix.
type pace struct {
	limiter *rate.Limiter
	mu      sync.Mutex
	changed time.Time
}

func newPace() *pace {
	return &pace{limiter: rate.NewLimiter(firstRate, 1), changed: time.Now()}
}

// paces are those of all prefixes.
type paces struct {
	mu sync.Mutex
	of map[string]*pace
}

// pace is that of the objects whose names begin like this one's: with a class of
// objects, or with a channel.
func (t *Target) pace(name string) *pace {
	prefix, _, _ := strings.Cut(strings.TrimPrefix(name, t.prefix), "/")
	p := &t.paces
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string]*pace{}
	}
	if p.of[prefix] == nil {
		p.of[prefix] = newPace()
	}
	return p.of[prefix]
}

// wait returns when the next request may be made.
func (p *pace) wait(ctx context.Context) error { return p.limiter.Wait(ctx) }

// answered takes note of an answer, which may ask to slow down.
func (p *pace) answered(slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.changed) < rateStep {
		return
	}
	next := float64(p.limiter.Limit()) * growth
	if slow {
		next = float64(p.limiter.Limit()) / 2
	}
	p.limiter.SetLimit(rate.Limit(min(max(next, minRate), maxRate)))
	p.changed = time.Now()
}
