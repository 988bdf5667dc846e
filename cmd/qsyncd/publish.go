package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/snapshot"
)

type publishOptions struct {
	configFile string
	channel    string
	wait       bool // for another run on the channel
}

func publishCommand() *cobra.Command {
	var o publishOptions
	cmd := &cobra.Command{
		Use:   "publish -c FILE CHANNEL",
		Short: "Take a snapshot and publish it, now",
		Long: `Take a snapshot of a channel's database and publish it on all targets. The node is
held for an instant only. What is published already is not uploaded again, and
files that are known unchanged are not even read. Nothing is visible before all
of it is there. Afterwards old versions are dropped as keep: says.

While the agent, or somebody else, publishes the channel the command fails, or
waits with --wait.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeChannels,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.channel = args[0]
			return runPublish(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	addConfigFlag(cmd, &o.configFile)
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait for another run on the channel to end")
	return cmd
}

func runPublish(ctx context.Context, out *term.Output, o publishOptions) error {
	cfg, err := config.LoadAgent(o.configFile)
	if err != nil {
		return err
	}
	c, err := configured(cfg, o.configFile, o.channel)
	if err != nil {
		return err
	}
	display := out.NewDisplay()
	defer display.Close()
	job := &agent.Publication{
		Config: cfg, Channel: c, Log: out.Log(), Trigger: status.ByHand, Wait: o.wait,
		Preflight: agent.NewPreflight(cfg, c),
		Planned:   func(p agent.Plan) { printPlan(out, p) },
		Progress: func(p snapshot.Progress) {
			display.Show(term.Progress{Phase: "publishing", Done: p.DoneBytes, Total: p.TotalBytes})
		},
		Sending: func(done, total int64) {
			display.Show(term.Progress{Phase: "sending files", Done: done, Total: total})
		},
		Finishing: func() { display.Show(term.Progress{Phase: "finishing"}) },
	}
	done, err := job.Run(ctx)
	display.Close()
	if done == nil {
		return err
	}
	printPruned(out, done.Pruned, false)
	printDone(out, done)
	return err
}

// configured finds a channel in the configuration.
func configured(a *config.Agent, file, name string) (*config.Channel, error) {
	c, ok := a.Channel(name)
	if !ok {
		return nil, term.WithHint(fmt.Errorf("channel %s: %w in %s", name, publish.ErrNotFound, file),
			"configured: %s", strings.Join(a.ChannelNames(), " "))
	}
	return c, nil
}
