package agent

import (
	"sync/atomic"
	"time"
)

// maxBeat is how old the loop's last sign of life may be.
const maxBeat = 4 * lookInterval

// pulse is the loop's: when it was last known to live, in seconds since 1970.
type pulse struct{ last atomic.Int64 }

func newPulse() *pulse {
	p := &pulse{}
	p.beat()
	return p
}

// beat says that the loop lives.
func (p *pulse) beat() { p.last.Store(clock().Unix()) }

// at is when it was last known to.
func (p *pulse) at() time.Time { return time.Unix(p.last.Load(), 0) }

func (p *pulse) age() time.Duration { return clock().Sub(p.at()) }
