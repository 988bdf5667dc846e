package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish"
)

type pruneOptions struct {
	configFile string
	channel    string // empty means all that are configured
	dryRun     bool
}

func pruneCommand() *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:   "prune -c FILE [CHANNEL]",
		Short: "Drop old versions and delete what nobody needs",
		Long: `Drop the versions that keep: in the configuration does not keep, of one channel
or of all, and delete the objects that no version names any more. The objects of
a dropped version stay for the time of grace: somebody may be restoring it.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeChannels,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.channel = args[0]
			}
			return prune(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	addConfigFlag(cmd, &o.configFile)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only say what would be dropped and deleted")
	return cmd
}

type droppedEvent struct {
	Event   string `json:"event"`
	Channel string `json:"channel"`
	Version string `json:"version"`
}

type deletedEvent struct {
	Event   string `json:"event"`
	Target  string `json:"target"`
	Objects int    `json:"objects"`
	Bytes   int64  `json:"bytes"`
}

type prunedEvent struct {
	Event   string  `json:"event"`
	DryRun  bool    `json:"dry_run"`
	Dropped int     `json:"dropped"`
	Objects int     `json:"deleted_objects"`
	Bytes   int64   `json:"deleted_bytes"`
	Seconds float64 `json:"seconds"`
}

func prune(ctx context.Context, out *term.Output, o pruneOptions) error {
	start := time.Now()
	cfg, err := config.LoadAgent(o.configFile)
	if err != nil {
		return err
	}
	keep := map[string]publish.Keep{}
	for _, c := range cfg.Channels {
		if o.channel == "" || o.channel == c.Name {
			keep[c.Name] = publish.Keep(c.Keep)
		}
	}
	if o.channel != "" {
		if _, err := configured(cfg, o.configFile, o.channel); err != nil {
			return err
		}
	}
	p, err := agent.NewPublisher(cfg, out.Log())
	if err != nil {
		return err
	}
	pruned, err := p.Prune(ctx, keep, time.Duration(cfg.Grace), o.dryRun)
	done := printPruned(out, pruned, o.dryRun)
	if err != nil {
		return err
	}
	done.Seconds = time.Since(start).Seconds()
	if out.JSON {
		out.Event(done)
	}
	return nil
}

// printPruned says what was done, which is of interest after an error too.
func printPruned(out *term.Output, p *publish.Pruned, dryRun bool) prunedEvent {
	done := prunedEvent{Event: "done", DryRun: dryRun, Dropped: len(p.Dropped)}
	dropped, deleted := "dropped", "deleted"
	if dryRun {
		dropped, deleted = "would drop", "would delete"
	}
	for _, d := range p.Dropped {
		if out.JSON {
			out.Event(droppedEvent{"dropped", d.Channel, d.Version})
		} else {
			out.Say("%s %s %s", dropped, d.Channel, d.Version)
		}
	}
	for _, d := range p.Deleted {
		if len(d.Objects) == 0 {
			continue
		}
		done.Objects += len(d.Objects)
		done.Bytes += d.Bytes
		if out.JSON {
			out.Event(deletedEvent{"deleted", d.Target, len(d.Objects), d.Bytes})
		} else {
			out.Say("%s %d objects of %s from %s", deleted, len(d.Objects), term.Size(d.Bytes), d.Target)
		}
	}
	return done
}
