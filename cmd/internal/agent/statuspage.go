package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/status"
)

const (
	// pageInterval is how often is looked whether the published page has to change. When a
	// probe sees that something has changed it is at once, so often in a row, and then with
	// so much time between: what fails for all channels does not fail in the same second.
	pageInterval = 3 * time.Minute
	pageBurst    = 6
	pagePause    = 10 * time.Second
	// pageAge is how old a page may become that still says what is true: one that is older
	// has an agent that is dead.
	pageAge = time.Hour
	// pageTimeout is how long a target may take for it.
	pageTimeout = time.Minute
	// pageStale is how old a probe is that the page does not go by any more.
	pageStale = time.Hour
)

// NewStatusPage is what everybody may know of how the service does now.
func NewStatusPage(a *config.Agent, now time.Time) (*status.Page, error) {
	f := status.Facts{Publisher: a.Publisher, Stale: pageStale}
	runs, probes := status.RunsIn(a.State), status.ProbesIn(a.State)
	for i := range a.Channels {
		c := &a.Channels[i]
		about := status.ChannelFacts{Name: c.Name, Chain: c.Chain}
		last, ok, err := runs.LastPublished(c.Name)
		if err != nil {
			return nil, err
		}
		if ok {
			about.Published = &last
		}
		if c.Schedule != "" {
			if about.Next, err = nextRun(a, c, runs, now); err != nil {
				return nil, err
			}
		}
		f.Channels = append(f.Channels, about)
	}
	var err error
	if f.Locations, err = probes.Locations(); err != nil {
		return nil, err
	}
	if f.Incidents, err = probes.Incidents(now.AddDate(0, 0, -status.PageDays)); err != nil {
		return nil, err
	}
	return status.NewPage(f, now), nil
}

// newStatusPage publishes the page, and notes what the agent works with: both are for
// those who ask later how it did.
func newStatusPage(log *slog.Logger) *beside {
	return newWorkers(func(ctx context.Context, b *beside, cfg *config.Agent, workers *sync.WaitGroup) {
		workers.Go(func() {
			if err := noteChanges(cfg, clock()); err != nil {
				log.Error("what the agent works with is not on record", "error", err)
			}
		})
		var all []chan<- struct{}
		for _, t := range pageTargets(cfg) {
			p := &pagePublishing{cfg: cfg, target: t, log: log.With("target", t.String())}
			sooner, pace := make(chan struct{}, 1), rate.NewLimiter(rate.Every(pagePause), pageBurst)
			all = append(all, sooner)
			workers.Go(func() {
				every(ctx, pageInterval, sooner, func() {
					if pace.Wait(ctx) == nil {
						p.look(ctx)
					}
				})
			})
		}
		workers.Go(func() { tellAll(ctx, b.events, all) })
	})
}

// tellAll lets all know of each event, until ctx ends.
func tellAll(ctx context.Context, events <-chan struct{}, all []chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			for _, c := range all {
				tell(c)
			}
		}
	}
}

// pageTargets are the targets that the page is published on: no browser can read where
// readers pay.
func pageTargets(cfg *config.Agent) []config.Target {
	if !cfg.StatusPage {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(cfg.Targets), func(t config.Target) bool { return t.S3 != nil && t.S3.RequesterPays })
}

// noteChanges records the version of the program and the configuration.
func noteChanges(cfg *config.Agent, now time.Time) error {
	changes := status.ChangesIn(cfg.State)
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	return errors.Join(changes.Note(now, status.ChangeAgent, version), changes.Note(now, status.ChangeConfiguration, "sha256:"+cfg.Digest))
}

// pagePublishing keeps the page on a target.
type pagePublishing struct {
	cfg     *config.Agent
	target  config.Target
	log     *slog.Logger
	failing bool
}

// look publishes the page if it is not there as it should be. What fails is tried again
// the next time.
func (p *pagePublishing) look(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	err := p.publish(within, clock())
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !p.failing:
		p.log.Warn("the status page cannot be published", because(err)...)
	case err == nil && p.failing:
		p.log.Info("the status page is published again")
	}
	p.failing = err != nil
}

func (p *pagePublishing) publish(ctx context.Context, now time.Time) error {
	page, err := NewStatusPage(p.cfg, now)
	if err != nil {
		return err
	}
	target, err := openTarget(p.target)
	if err != nil {
		return err
	}
	there, _, err := target.Load(ctx, publish.StatusKey)
	if err != nil && !errors.Is(err, publish.ErrNotFound) {
		return err
	}
	if made, same := page.Says(there); same && now.Sub(made) < pageAge {
		return nil
	}
	asJSON, err := page.JSON()
	if err != nil {
		return err
	}
	asHTML, err := page.HTML()
	if err != nil {
		return err
	}
	// The JSON last: it says that both are there.
	if err := publish.PutPage(ctx, target, publish.StatusPageKey, asHTML); err != nil {
		return err
	}
	return publish.PutPage(ctx, target, publish.StatusKey, asJSON)
}

// pageReuse is how long a page is served without looking anew: asking for it often must
// not keep the records busy.
const pageReuse = 10 * time.Second

// StatusHandler serves the page at / and its JSON at /status.json, as of now.
func StatusHandler(cfg *config.Agent, log *slog.Logger) http.Handler {
	s := &servedPage{cfg: cfg, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, publish.StatusPageKey) })
	mux.HandleFunc("GET /"+status.PageJSONName, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, publish.StatusKey) })
	return mux
}

type servedPage struct {
	cfg *config.Agent
	log *slog.Logger

	mu     sync.Mutex
	made   time.Time
	bodies map[string][]byte // by their keys on a target
}

func (s *servedPage) serve(w http.ResponseWriter, r *http.Request, key string) {
	bodies, made, err := s.make(time.Now())
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if err != nil {
		s.log.Error("the status page cannot be served", because(err)...)
		header.Set("Cache-Control", "no-store")
		http.Error(w, "how the service does cannot be told at the moment", http.StatusInternalServerError)
		return
	}
	header.Set("Content-Type", publish.ContentType(key))
	header.Set("Cache-Control", publish.CacheShortly)
	header.Set("Content-Security-Policy", "frame-ancestors 'none'") // which the page cannot say itself
	http.ServeContent(w, r, "", made, bytes.NewReader(bodies[key]))
}

func (s *servedPage) make(now time.Time) (map[string][]byte, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.made); s.bodies != nil && age >= 0 && age < pageReuse {
		return s.bodies, s.made, nil
	}
	page, err := NewStatusPage(s.cfg, now)
	if err != nil {
		return nil, now, err
	}
	asHTML, htmlErr := page.HTML()
	asJSON, jsonErr := page.JSON()
	if err := errors.Join(htmlErr, jsonErr); err != nil {
		return nil, now, err
	}
	s.made, s.bodies = now, map[string][]byte{publish.StatusPageKey: asHTML, publish.StatusKey: asJSON}
	return s.bodies, s.made, nil
}
