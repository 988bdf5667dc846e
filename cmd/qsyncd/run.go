package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish/ipfs"
)

type runOptions struct {
	configFile string
	logFormat  string
}

func runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Publish on schedule, until told to stop",
		Long: `Publish all channels on their schedules, renew what is signed before it expires,
and repair what a run that was killed has left, first of all a node that stands
still. It is what the systemd unit starts.

SIGHUP lets it read the configuration again; runs under way go on with the old
one. SIGTERM and SIGINT end it: runs under way are cut off, and nodes go on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), cmd.ErrOrStderr(), o)
		},
	}
	addConfigFlag(cmd, &o.configFile)
	cmd.Flags().StringVar(&o.logFormat, "log-format", logText, "`FORMAT` of the log on standard error: text or json")
	term.Must(cmd.RegisterFlagCompletionFunc("log-format",
		cobra.FixedCompletions([]string{logText, logJSON}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func run(ctx context.Context, stderr io.Writer, o runOptions) (err error) {
	// First: without it the signal would end the program.
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)

	log, err := newLog(stderr, o.logFormat)
	if err != nil {
		return err
	}
	ipfs.LogLibraries(log)
	if o.logFormat == logJSON {
		defer func() { err = sayLast(log, err) }()
	}
	service, err := agent.NewService(log)
	if err != nil {
		return err
	}
	a := &agent.Agent{
		Load:      func() (*config.Agent, error) { return config.LoadAgent(o.configFile) },
		Preflight: agent.NewPreflight,
		Watch:     agent.NewWatch,
		Ask:       agent.AskNode,
		Log:       log,
		Service:   service,
		Version:   term.Version(),
		LogFormat: o.logFormat,
	}
	return a.Run(ctx, reload)
}

// sayLast logs why the program ends, in place of what it would print: whoever reads the
// log as JSON could not read that.
func sayLast(log *slog.Logger, err error) error {
	if err == nil {
		return nil
	}
	if hint := term.Hint(err); hint != "" {
		log = log.With("hint", hint)
	}
	log.Error("the program ends", "error", err)
	return term.Said(err)
}
