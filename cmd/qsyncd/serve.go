package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish/dir"
)

type serveOptions struct {
	configFile string
	listen     string
}

func serveCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve -c FILE --listen ADDRESS",
		Short: "Serve the first dir target over HTTP",
		Long: `Serve the first dir target over HTTP, with ranges and with cache headers that
suit a CDN: objects for ever, head and catalog for a short time. Put a web server
before it where TLS is wanted; any web server can serve the directory as well.

Where a quota has source: serve, what is sent is counted in the state directory, which
must then be writable.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	addConfigFlag(cmd, &o.configFile)
	cmd.Flags().StringVar(&o.listen, "listen", "127.0.0.1:8080", "`ADDRESS` and port; port 0 is any that is free")
	return cmd
}

type listeningEvent struct {
	Event string `json:"event"`
	URL   string `json:"url"`
}

// Times after which a client that does not do its part is dropped. How long a
// download may take is not among them.
const (
	readTimeout     = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 10 * time.Second
)

func serve(ctx context.Context, out *term.Output, o serveOptions) error {
	cfg, err := config.LoadAgent(o.configFile)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(cfg.Targets, func(t config.Target) bool { return t.Dir != nil })
	if i < 0 {
		return term.WithHint(errors.New("serve: no target is a directory"), "a bucket serves itself, or a CDN does")
	}
	base := cfg.Targets[i].Dir.Path
	if _, err := os.Stat(base); err != nil {
		return term.WithHint(fmt.Errorf("serve: %w", err), "qsyncd publish makes it")
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	url := "http://" + listener.Addr().String()
	if out.JSON {
		out.Event(listeningEvent{"listening", url})
	} else {
		out.Result("%s", url)
	}
	handler := dir.Handler(base)
	group, ctx := errgroup.WithContext(ctx)
	counting, counted := context.WithCancel(context.WithoutCancel(ctx)) // until all has been sent
	if slices.ContainsFunc(cfg.Quota, func(q config.Quota) bool { return q.Source == config.SourceServe }) {
		counts := agent.NewServed(cfg)
		handler = counts.Count(handler)
		group.Go(func() error {
			counts.Keep(counting, func(err error) { out.Log().Warn("what was sent is not on record yet", "error", err) })
			return nil
		})
	}
	server := &http.Server{
		Handler:     handler,
		ReadTimeout: readTimeout,
		IdleTimeout: idleTimeout,
		ErrorLog:    slog.NewLogLogger(out.Log().Handler(), slog.LevelWarn),
	}
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", url, err)
		}
		return nil
	})
	group.Go(func() error {
		defer counted()
		<-ctx.Done()
		// Downloads under way get a moment; those who fetch resume what is cut.
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := server.Shutdown(shutdown); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return server.Close()
	})
	return group.Wait()
}
