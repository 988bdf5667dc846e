package main

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/snapshot/guard"
)

// guardCommand is what the agent starts while it holds a node: see package guard.
func guardCommand() *cobra.Command {
	return &cobra.Command{
		Use:    agent.GuardArgument,
		Short:  "Resume a node whose agent has died; qsyncd starts this itself",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// It ends when the node goes on, and not before.
			signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			ctx := context.WithoutCancel(cmd.Context())
			return guard.Watch(ctx, cmd.InOrStdin(), cmd.OutOrStdout(), agent.OpenNode, term.NewOutput(cmd).Log())
		},
	}
}
