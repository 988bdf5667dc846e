package agent

import (
	"context"
	"reflect"
	"sync"

	"github.com/qsync/qsync/cmd/internal/config"
)

// beside is what the agent does beside its loop, as the newest configuration has it.
// Nothing that it does, or waits for, holds up a run.
type beside struct {
	wanted chan *config.Agent // the newest configuration
	events chan struct{}      // something may be new
	ended  chan struct{}
	cancel context.CancelFunc
}

// newBeside starts run, which is to end with its context.
func newBeside(run func(context.Context, *beside)) *beside {
	ctx, cancel := context.WithCancel(context.Background())
	b := &beside{wanted: make(chan *config.Agent, 1), events: make(chan struct{}, 1), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(b.ended)
		run(ctx, b)
	}()
	return b
}

// newWorkers starts workers, as start has them for a configuration, and starts them
// anew for another one.
func newWorkers(start func(ctx context.Context, b *beside, cfg *config.Agent, workers *sync.WaitGroup)) *beside {
	return newBeside(func(ctx context.Context, b *beside) {
		var now *config.Agent
		stop := func() {}
		defer func() { stop() }()
		for {
			select {
			case <-ctx.Done():
				return
			case cfg := <-b.wanted:
				if now != nil && reflect.DeepEqual(now, cfg) {
					continue
				}
				stop()
				now = cfg
				within, cancel := context.WithCancel(ctx)
				var workers sync.WaitGroup
				start(within, b, cfg, &workers)
				stop = func() {
					cancel()
					workers.Wait()
				}
			}
		}
	})
}

// configure sets the configuration that holds from now on. It does not wait.
func (b *beside) configure(cfg *config.Agent) {
	select {
	case <-b.wanted: // nobody has looked at it yet
	default:
	}
	b.wanted <- cfg
}

// look lets it look at what may be new. It does not wait.
func (b *beside) look() { tell(b.events) }

// tell lets whoever waits know that there may be something. It does not wait.
func tell(events chan<- struct{}) {
	select {
	case events <- struct{}{}:
	default:
	}
}

// close ends it.
func (b *beside) close() {
	b.cancel()
	<-b.ended
}
