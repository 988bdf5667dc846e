package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
)

// Agent publishes the channels of a configuration on their schedules, until it
// is told to stop.
//
// One loop decides, and never does anything that can take long. What is due is done
// beside it: one job at a time for each channel, channels in parallel. The loop looks at the
// wall clock twice a minute at least, since no timer knows that a machine has slept or
// that its clock was set.
type Agent struct {
	// Load reads the configuration, at the start and when the agent is told to
	// reload it.
	Load func() (*config.Agent, error)
	// Preflight is how the node of a channel is asked. If it returns nil nobody
	// asks.
	Preflight func(*config.Agent, *config.Channel) Preflight
	// Watch is how it is looked at between runs, likewise; it may be nil.
	Watch func(*config.Agent, *config.Channel) func(context.Context) error
	// Ask is how the alarms ask the node, likewise; see [Look].
	Ask askNode
	Log *slog.Logger
	// LogFormat is that of the log as guards are told it, who write there too: text or
	// json.
	LogFormat string
	// Service is told how the agent does; nil is nobody.
	Service *Service
	Version string // of this program, for its metrics
}

// lookInterval is how often the loop looks at the clock at least, and
// busyInterval likewise while something is done that it tells the progress of.
const (
	lookInterval = 30 * time.Second
	busyInterval = 5 * time.Second
)

// Run is the life of the agent. It returns nil when ctx has ended, after all that was
// under way has ended too: each node goes on, and runs that were cut off are on
// record as interrupted. Each value of reload lets it read its configuration again.
// Error: publish.ErrInUse if another agent works with the state directory.
func (a *Agent) Run(ctx context.Context, reload <-chan os.Signal) error {
	cfg, err := a.Load()
	if err != nil {
		return err
	}
	lock, err := lockAgent(ctx, cfg.State, a.Log)
	if err != nil {
		return err
	}
	defer unlock(lock)
	l := &loop{Agent: a, state: cfg.State, channels: map[string]*channel{}, settled: make(chan settlement)}
	l.startBeside()
	defer l.endBeside()
	if err := l.adopt(cfg); err != nil {
		return err
	}
	l.web.standing.reloaded(true)
	a.Log.Info("the agent has started", "process", os.Getpid(), "channels", len(l.channels), "state", l.state)
	l.run(ctx, reload)
	a.Log.Info("the agent has stopped")
	return nil
}

// loop is what the agent's loop knows. Nobody else touches it.
type loop struct {
	*Agent
	state    string // directory
	channels map[string]*channel
	busy     int  // jobs under way
	ready    bool // the service manager knows that it has started
	settled  chan settlement
	pulse    *pulse
	ipfs     *ipfsNode
	alarms   *alarming
	lookout  *lookout
	web      *web
	beside   []*beside // all of these, and what nobody asks for anything
}

// startBeside starts what is done beside the loop. It waits for a configuration.
func (l *loop) startBeside() {
	l.pulse = newPulse()
	l.ipfs = newIPFSNode(l.Log)
	l.alarms = newAlarming(l.Log, l.pulse)
	l.lookout = newLookout(l.Log, l.Ask, l.alarms.look)
	l.alarms.lookout = l.lookout
	l.web = newWeb(l.Log, &standing{pulse: l.pulse, lookout: l.lookout, ipfs: l.ipfs, version: l.Version})
	page := newStatusPage(l.Log)
	probed := func() {
		l.alarms.probed()
		l.web.look()
		page.look()
	}
	l.beside = []*beside{
		l.ipfs.beside, l.alarms.beside, l.lookout.beside, l.web.beside, page,
		newProbing(l.Log, probed).beside, newScrubbing(l.Log, l.lookout.look).beside,
	}
}

// endBeside ends it, what was started last first.
func (l *loop) endBeside() {
	for _, b := range slices.Backward(l.beside) {
		b.close()
	}
}

// settlement is what a job that has ended changes in the loop.
type settlement struct {
	channel *channel
	apply   func(now time.Time)
}

func (l *loop) run(ctx context.Context, reload <-chan os.Signal) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			l.stop()
			return
		case <-reload:
			l.reload()
		case s := <-l.settled:
			l.settle(s)
		case <-l.alarms.limits:
			l.lookAtLimits(clock())
		case <-timer.C:
		}
		if ctx.Err() != nil {
			continue // begin nothing any more
		}
		wake := l.look(ctx, clock())
		l.Service.Alive()
		l.pulse.beat()
		l.Service.Status(l.describe(clock()))
		timer.Reset(l.Service.atMost(max(0, wake)))
	}
}

// clock is the wall clock alone: how far apart two moments are must follow it
// when it is set.
func clock() time.Time { return time.Now().Round(0) }

// look starts what is due and returns how long nothing else is.
func (l *loop) look(ctx context.Context, now time.Time) (idle time.Duration) {
	idle = lookInterval
	repaired := true // or at least tried
	for _, c := range l.channels {
		if c.busy == nil && !c.gone {
			if at, next := l.next(c, now); at.After(now) {
				idle = min(idle, at.Sub(now))
			} else {
				l.start(ctx, c, next)
			}
		}
		repaired = repaired && (c.clean || c.repair.failures > 0)
	}
	if l.busy > 0 {
		idle = min(idle, busyInterval)
	}
	if repaired && !l.ready {
		l.ready = true
		l.Service.Ready()
		l.web.standing.ready.Store(true)
	}
	return idle
}

func (l *loop) start(ctx context.Context, c *channel, j job) {
	p := &progress{}
	l.busy++
	c.busy = p
	go func() { l.settled <- settlement{c, j(ctx, p)} }()
}

func (l *loop) settle(s settlement) {
	l.busy--
	s.channel.busy = nil
	s.apply(clock())
	l.ipfs.look()
	if l.busy == 0 {
		// A run needs several times what an agent does that waits for the next one, and the
		// node wants that memory for its cache.
		debug.FreeOSMemory()
	}
	if s.channel.gone {
		delete(l.channels, s.channel.name)
	}
}

// stop waits for what is under way, which has been told to end.
func (l *loop) stop() {
	l.Service.Stopping()
	l.Log.Info("stopping", "under_way", l.busy)
	for l.busy > 0 {
		l.settle(<-l.settled)
	}
}

// reload reads the configuration again. One that is wrong changes nothing; what is
// under way goes on with the old one.
func (l *loop) reload() {
	l.Service.Reloading()
	defer l.Service.Ready()
	cfg, err := l.Load()
	if err == nil && cfg.State != l.state {
		err = errors.New("another state directory needs a restart")
	}
	if err == nil {
		err = l.adopt(cfg)
	}
	l.web.standing.reloaded(err == nil)
	if err != nil {
		l.Log.Error("the new configuration is not used, the old one stays", because(err)...)
		return
	}
	l.Log.Info("the configuration is read again", "channels", len(cfg.Channels), "names", cfg.ChannelNames())
}

// adopt makes the configuration that of the loop.
func (l *loop) adopt(cfg *config.Agent) error {
	schedules := map[string]*Schedule{}
	for _, c := range cfg.Channels {
		if c.Schedule == "" {
			continue
		}
		s, err := ParseSchedule(c.Schedule, cfg.TimeZone)
		if err != nil {
			return fmt.Errorf("channel %s: %w", c.Name, err)
		}
		schedules[c.Name] = s
	}
	for name, c := range l.channels {
		c.gone = !slices.Contains(cfg.ChannelNames(), name)
		if c.gone && c.busy == nil {
			delete(l.channels, name)
		}
	}
	for _, b := range l.beside {
		b.configure(cfg)
	}
	now := clock()
	for i := range cfg.Channels {
		name := cfg.Channels[i].Name
		c := l.channels[name]
		if c == nil {
			c = &channel{name: name, repair: attempts{at: now}}
			l.channels[name] = c
		}
		c.agent, c.config, c.renew, c.limit = cfg, &cfg.Channels[i], attempts{at: now}, attempts{at: now}
		if s := schedules[name]; c.schedule == nil || s == nil || c.schedule.String() != s.String() {
			c.schedule, c.slots, c.read = s, nil, attempts{at: now}
		}
		if c.slots != nil {
			c.slots.delay = c.jitter()
		}
	}
	return nil
}

// describe is the status line.
func (l *loop) describe(now time.Time) string {
	var doing []string
	first, when := "", time.Time{}
	for _, name := range slices.Sorted(maps.Keys(l.channels)) {
		c := l.channels[name]
		if c.busy != nil {
			doing = append(doing, name+": "+c.busy.String())
		} else if c.slots != nil {
			if _, at := c.slots.next(now); first == "" || at.Before(when) {
				first, when = name, at
			}
		}
	}
	switch {
	case len(doing) > 0:
		return strings.Join(doing, "; ")
	case first != "":
		return fmt.Sprintf("next run of %s at %s", first, when.Format("2006-01-02 15:04:05 MST"))
	}
	return "nothing is scheduled"
}
