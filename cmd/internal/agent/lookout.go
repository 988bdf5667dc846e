package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// lookout looks at what the agent works with, from time to time and when something
// has happened, for all those who tell others of it: so that however many they are, nodes
// and targets are asked once.
type lookout struct {
	*beside
	log   *slog.Logger
	ask   askNode
	tell  func()                  // calls those who wait for a sight
	last  atomic.Pointer[sight]   // nil before the first look
	notes atomic.Pointer[records] // nil before they were read, and if nobody asks for them
}

// sight is what was seen in a look.
type sight struct {
	at       time.Time
	config   *config.Agent
	overview *Overview // nil if err is not
	targets  []reached
	err      error
}

// reached is whether a target answered.
type reached struct {
	name string
	err  error // nil if it did
}

// watchInterval is how often nodes and targets are asked.
const watchInterval = 5 * time.Minute

func newLookout(log *slog.Logger, ask askNode, tell func()) *lookout {
	l := &lookout{log: log, ask: ask, tell: tell}
	l.beside = newWorkers(l.start)
	return l
}

func (l *lookout) start(ctx context.Context, b *beside, cfg *config.Agent, workers *sync.WaitGroup) {
	if cfg.Alarms == nil && cfg.Listen == "" {
		return // nobody wants to know
	}
	workers.Go(func() {
		every(ctx, watchInterval, b.events, func() {
			s := see(ctx, cfg, l.ask)
			if ctx.Err() != nil {
				return
			}
			if s.err != nil {
				l.log.Error("how the agent and its channels do is not known", because(s.err)...)
			}
			l.last.Store(s)
			l.tell()
		})
	})
	if cfg.Listen != "" {
		workers.Go(func() { l.read(ctx, cfg) })
	}
}

// see looks at everything once.
func see(ctx context.Context, cfg *config.Agent, ask askNode) *sight {
	s := &sight{at: clock(), config: cfg}
	s.overview, s.err = Look(ctx, cfg, ask)
	s.targets = reach(ctx, cfg.Targets)
	return s
}

// reach asks each target for something small.
func reach(ctx context.Context, targets []config.Target) []reached {
	all := make([]reached, len(targets))
	var asking sync.WaitGroup
	for i, t := range targets {
		asking.Go(func() { all[i] = reached{t.String(), reachOne(ctx, t)} })
	}
	asking.Wait()
	return all
}

func reachOne(ctx context.Context, t config.Target) error {
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	target, err := openTarget(t)
	if err != nil {
		return err
	}
	if _, _, err = target.Load(ctx, manifest.CatalogKey); errors.Is(err, publish.ErrNotFound) {
		return nil
	}
	return err
}
