package agent

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// standing is what the agent knows of how it does, for those who ask over HTTP. They
// are told at once: for no answer is a node, a target or a disk asked.
type standing struct {
	pulse   *pulse
	lookout *lookout
	ipfs    *ipfsNode
	version string

	ready   atomic.Bool // the loop has begun its work, and repairs were tried
	refused atomic.Bool // the configuration that was read last
	loaded  atomic.Int64
}

// reloaded notes that a configuration was read, and whether it is used.
func (s *standing) reloaded(used bool) {
	s.refused.Store(!used)
	s.loaded.Store(clock().Unix())
}

// unhealthy is why the agent must be started again, or nothing.
func (s *standing) unhealthy() string {
	if age := s.pulse.age(); age > maxBeat {
		return fmt.Sprintf("the agent hangs: nothing was decided for %s", age.Round(time.Second))
	}
	return ""
}

// unready is why the agent cannot publish now, or nothing.
func (s *standing) unready() string {
	if why := s.unhealthy(); why != "" {
		return why
	}
	if !s.ready.Load() {
		return "the agent starts: what an earlier one left is being repaired"
	}
	seen := s.lookout.last.Load()
	if seen == nil {
		return "the agent starts: the targets were not asked yet"
	}
	var silent []string
	for _, t := range seen.targets {
		if t.err != nil {
			silent = append(silent, t.name)
		}
	}
	if len(silent) > 0 {
		return fmt.Sprintf("not reached at %s: %s", seen.at.UTC().Format(time.RFC3339), strings.Join(silent, ", "))
	}
	return ""
}
