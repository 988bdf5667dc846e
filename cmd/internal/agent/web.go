package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/cmd/internal/config"
)

// web is the agent's own HTTP, where the configuration has it. An address that cannot
// be had ends nothing else: it is tried again.
type web struct {
	*beside
	log      *slog.Logger
	standing *standing
	page     atomic.Pointer[http.Handler] // of the newest configuration; the server starts with it
}

// Times after which a client that does not do its part is dropped, and how long
// answers that are under way have when the server ends.
const (
	webReadTimeout  = 30 * time.Second
	webWriteTimeout = 30 * time.Second
	webIdleTimeout  = 2 * time.Minute
	webGrace        = time.Second
	webMaxHeader    = 16 << 10 // bytes
)

// How long an address that cannot be had is left alone.
const (
	firstListenRetry = time.Second
	maxListenRetry   = time.Minute
)

func newWeb(log *slog.Logger, s *standing) *web {
	w := &web{log: log, standing: s}
	w.beside = newBeside(w.run)
	return w
}

// handler is all that is served.
func (w *web) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", w.standing.metrics())
	mux.HandleFunc("GET /healthz", verdict(w.standing.unhealthy))
	mux.HandleFunc("GET /readyz", verdict(w.standing.unready))
	mux.HandleFunc("GET /", func(rw http.ResponseWriter, r *http.Request) { (*w.page.Load()).ServeHTTP(rw, r) })
	return mux
}

// verdict answers ok, or why not.
func verdict(why func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if problem := why(); problem != "" {
			plain(w, http.StatusServiceUnavailable, problem)
			return
		}
		plain(w, http.StatusOK, "ok")
	}
}

func plain(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	fmt.Fprintln(w, line)
}

func (w *web) run(ctx context.Context, b *beside) {
	var at config.Listen // where it is to be
	var now *serving     // nil if it does not
	defer func() { now.end() }()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = firstListenRetry, maxListenRetry
	timer := time.NewTimer(0)
	defer timer.Stop()
	var used *config.Agent // nil before the first
	for {
		select {
		case <-ctx.Done():
			return
		case cfg := <-b.wanted:
			used = cfg
			w.renewPage(used)
			if cfg.Listen != at {
				now.end()
				now, at = nil, cfg.Listen
				wait.Reset()
			}
		case <-b.events:
			if used != nil {
				w.renewPage(used)
			}
		case err := <-now.failed():
			w.log.Error("the agent's HTTP has ended", "listen", string(at), "error", err)
			now.end()
			now = nil
		case <-timer.C:
		}
		if at == "" || now != nil {
			continue
		}
		var err error
		if now, err = w.serve(ctx, at); err != nil && ctx.Err() == nil {
			next := wait.NextBackOff()
			w.log.Error("the agent does not answer over HTTP", "listen", string(at), "error", err, "again_in", next.Round(time.Second))
			timer.Reset(next)
		}
	}
}

// renewPage has the page say what is so now: what was made of it before is not served any
// more.
func (w *web) renewPage(cfg *config.Agent) {
	page := StatusHandler(cfg, w.log)
	w.page.Store(&page)
}

// serving is a server that runs. There is none if it is nil.
type serving struct {
	server *http.Server
	ended  chan error
}

func (w *web) serve(ctx context.Context, at config.Listen) (*serving, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", string(at))
	if err != nil {
		return nil, err
	}
	w.log.Info("the agent answers over HTTP", "listen", listener.Addr().String())
	s := &serving{ended: make(chan error, 1), server: &http.Server{
		Handler:        w.handler(),
		ReadTimeout:    webReadTimeout,
		WriteTimeout:   webWriteTimeout,
		IdleTimeout:    webIdleTimeout,
		MaxHeaderBytes: webMaxHeader,
		ErrorLog:       slog.NewLogLogger(w.log.Handler(), slog.LevelDebug), // what others do wrong is theirs
	}}
	go func() { s.ended <- s.server.Serve(listener) }()
	return s, nil
}

func (s *serving) failed() <-chan error {
	if s == nil {
		return nil
	}
	return s.ended
}

// end gives answers that are under way a moment.
func (s *serving) end() {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), webGrace)
	defer cancel()
	if err := s.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = s.server.Close()
	}
}
