package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
)

type listOptions struct {
	publisherOptions
	name string // of a chain or a channel; empty means all channels
}

func listCommand() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list [CHAIN|CHANNEL]",
		Short: "Show channels and versions",
		Long: `Show the newest version of every channel or, of the channels that are named, all
versions. The first channel of a chain is what the chain's name stands for.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = strings.Join(args, "")
			return list(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

// snapshotEvent is a row of the list.
type snapshotEvent struct {
	Event       string `json:"event"`
	Publisher   string `json:"publisher"`
	Chain       string `json:"chain"`
	Channel     string `json:"channel"`
	Default     bool   `json:"default"` // the chain's name stands for this channel
	Version     string `json:"version"`
	Files       int    `json:"files"`
	RawBytes    int64  `json:"raw_bytes"`
	StoredBytes int64  `json:"stored_bytes"`
	Block       int64  `json:"block,omitempty"`
}

// list prints what can be had, and then fails if some of it could not be asked for.
func list(ctx context.Context, out *term.Output, o listOptions) error {
	if o.name != "" {
		if err := manifest.CheckChannel(o.name); err != nil {
			return &term.UsageError{Err: err}
		}
	}
	var found []snapshotEvent
	err := o.asking(out, func(_ *money, publishers []publisher) (err error) {
		found, err = findSnapshots(ctx, o, publishers)
		return err
	})
	if len(found) > 0 && !out.JSON {
		out.Result("%-34s %-16s %10s %10s  %s", "CHANNEL", "VERSION", "SIZE", "DOWNLOAD", "CHAIN")
	}
	for _, e := range found {
		printSnapshot(out, e)
	}
	return err
}

func findSnapshots(ctx context.Context, o listOptions, publishers []publisher) (found []snapshotEvent, failed error) {
	for _, p := range publishers {
		catalog, err := p.repository.Catalog(ctx)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err))
			continue
		}
		for _, c := range catalog.Channels {
			if o.name != "" && o.name != c.Chain && o.name != c.Channel {
				continue
			}
			versions, err := snapshotsOf(ctx, p, catalog, c, o.name != "")
			failed = errors.Join(failed, err)
			found = append(found, versions...)
		}
	}
	if len(found) == 0 && failed == nil {
		return nil, fmt.Errorf("%w: no publisher has a chain or channel %s", fetcher.ErrNotFound, o.name)
	}
	return found, failed
}

func snapshotsOf(ctx context.Context, p publisher, catalog *manifest.Catalog, c manifest.CatalogChannel, all bool) (found []snapshotEvent, err error) {
	head, err := p.repository.Head(ctx, c.Channel)
	if err != nil {
		return nil, err
	}
	versions := head.Snapshots
	if !all {
		versions = versions[:1]
	}
	byDefault, _ := catalog.Default(c.Chain)
	for _, s := range versions {
		m, err := p.repository.Manifest(ctx, c.Channel, s.Version)
		if err != nil {
			return found, err
		}
		e := snapshotEvent{
			Event: "snapshot", Publisher: p.name, Chain: c.Chain, Channel: c.Channel, Default: byDefault == c.Channel,
			Version: m.Version, Files: m.Files, RawBytes: m.RawSize, StoredBytes: m.StoredSize,
		}
		if m.Block != nil {
			e.Block = m.Block.Number
		}
		found = append(found, e)
	}
	return found, nil
}

func printSnapshot(out *term.Output, e snapshotEvent) {
	if out.JSON {
		out.Event(e)
		return
	}
	chain := e.Chain
	if e.Default {
		chain += " (default)"
	}
	out.Result("%-34s %-16s %10s %10s  %s", e.Channel, e.Version, term.Size(e.RawBytes), term.Size(e.StoredBytes), chain)
}
