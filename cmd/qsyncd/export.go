package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish/ipfs/mirror"
)

type exportOptions struct {
	configFile string
	channel    string
	version    string // empty is the newest
	car        string // the file
	trees      []string
}

func exportCommand() *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export -c FILE CHANNEL [VERSION] --car OUT",
		Short: "Write a published version to a CAR for tools of IPFS",
		Long: `Write a published version, by default the newest, to a content-addressable archive (CAR,
version 1) with the tree that its manifest names: raw, the database as the directory
that it is; or zstd, its index and compressed segments; or both. Others import it,
as with ipfs dag import OUT, and have what this publisher's node serves.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeChannels,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.channel = args[0]
			if len(args) > 1 {
				o.version = args[1]
			}
			return export(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	addConfigFlag(cmd, &o.configFile)
	cmd.Flags().StringVar(&o.car, "car", "", "the file to write")
	cmd.Flags().StringSliceVar(&o.trees, "tree", []string{string(mirror.Raw)}, "which tree: raw, zstd, or both as raw,zstd")
	_ = cmd.MarkFlagRequired("car")
	return cmd
}

type exportedEvent struct {
	Event   string            `json:"event"`
	Channel string            `json:"channel"`
	Version string            `json:"version"`
	File    string            `json:"file"`
	Roots   map[string]string `json:"roots"`
	Bytes   int64             `json:"bytes"`
	Seconds float64           `json:"seconds"`
}

func export(ctx context.Context, out *term.Output, o exportOptions) error {
	start := time.Now()
	cfg, err := config.LoadAgent(o.configFile)
	if err != nil {
		return err
	}
	if _, err := configured(cfg, o.configFile, o.channel); err != nil {
		return err
	}
	e := &agent.Export{Config: cfg, Channel: o.channel, Version: o.version, File: o.car}
	for _, name := range o.trees {
		tree := mirror.Tree(name)
		if !slices.Contains(mirror.Trees, tree) {
			return term.Usagef("--tree %s: known: raw, zstd", name)
		}
		if !slices.Contains(e.Trees, tree) {
			e.Trees = append(e.Trees, tree)
		}
	}
	display := out.NewDisplay()
	defer display.Close()
	e.Progress = func(done, total int64) {
		display.Show(term.Progress{Phase: "exporting", Done: done, Total: total})
	}
	done, err := e.Run(ctx)
	display.Close()
	if err != nil {
		return err
	}
	if out.JSON {
		event := exportedEvent{
			Event: "done", Channel: o.channel, Version: done.Version, File: o.car, Roots: map[string]string{}, Bytes: done.Bytes,
			Seconds: time.Since(start).Seconds(),
		}
		for tree, root := range done.Roots {
			event.Roots[string(tree)] = root.String()
		}
		out.Event(event)
		return nil
	}
	for _, tree := range e.Trees {
		out.Result("%-4s %s", tree, done.Roots[tree])
	}
	out.Say("exported %s %s: %s in %s", o.channel, done.Version, term.Size(done.Bytes), o.car)
	return nil
}
