package main

import (
	"context"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/snapshot/guard"
)

// guardCommand is what the agent starts while it holds a node: see package guard.
func guardCommand() *cobra.Command {
	var o guardOptions
	cmd := &cobra.Command{
		Use:    agent.GuardArgument,
		Short:  "Resume a node whose agent has died; qsyncd starts this itself",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// It ends when the node goes on, and not before.
			signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			ctx := context.WithoutCancel(cmd.Context())
			if o.logFormat == "" {
				return watchNode(ctx, cmd, term.NewOutput(cmd).Log())
			}
			log, err := newLog(cmd.ErrOrStderr(), o.logFormat)
			if err != nil {
				return err
			}
			log = log.With("channel", o.channel, "run", o.run)
			return sayLast(log, watchNode(ctx, cmd, log))
		},
	}
	cmd.Flags().StringVar(&o.logFormat, "log-format", "", "log as a run of the agent does, in this `FORMAT`")
	cmd.Flags().StringVar(&o.channel, "channel", "", "`CHANNEL` of the run")
	cmd.Flags().Uint64Var(&o.run, "run", 0, "`ID` of the run")
	return cmd
}

// guardOptions say how a guard logs: it may outlive the agent, and has its log.
type guardOptions struct {
	logFormat string
	channel   string
	run       uint64
}

func watchNode(ctx context.Context, cmd *cobra.Command, log *slog.Logger) error {
	return guard.Watch(ctx, cmd.InOrStdin(), cmd.OutOrStdout(), agent.OpenNode, log)
}
