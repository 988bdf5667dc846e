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
	// rateStep is how long all must be well before the rate grows; that many requests
	// are refused within it counts once.
	rateStep = time.Second
)

// pace is the rate of requests for one prefix.
type pace struct {
	limiter *rate.Limiter

	mu     sync.Mutex
	halved time.Time // zero if it never was
	steady time.Time // since when there was neither a change nor a request to slow down
}

func newPace() *pace {
	return &pace{limiter: rate.NewLimiter(firstRate, 1), steady: time.Now()}
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

// answered takes note of an answer, which may ask to slow down. A store does not refuse
// all requests that are too many: the others' success does not outweigh those.
func (p *pace) answered(slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case slow:
		p.steady = now
		if now.Sub(p.halved) >= rateStep {
			p.halved = now
			p.multiply(0.5)
		}
	case now.Sub(p.steady) >= rateStep:
		p.steady = now
		p.multiply(growth)
	}
}

func (p *pace) multiply(by float64) {
	p.limiter.SetLimit(rate.Limit(min(max(float64(p.limiter.Limit())*by, minRate), maxRate)))
}
