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
	publishers, err := o.publishers(out.Log())
	if err != nil {
		return err
	}
	if o.name != "" {
		if err := manifest.CheckChannel(o.name); err != nil {
			return &term.UsageError{Err: err}
		}
	}
	var failed error
	found := false
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
			if !found && !out.JSON {
				out.Result("%-34s %-16s %10s %10s  %s", "CHANNEL", "VERSION", "SIZE", "DOWNLOAD", "CHAIN")
			}
			found = true
			if err := listChannel(ctx, out, p, catalog, c, o.name != ""); err != nil {
				failed = errors.Join(failed, err)
			}
		}
	}
	if !found && failed == nil {
		return fmt.Errorf("%w: no publisher has a chain or channel %s", fetcher.ErrNotFound, o.name)
	}
	return failed
}

func listChannel(ctx context.Context, out *term.Output, p publisher, catalog *manifest.Catalog, c manifest.CatalogChannel, all bool) error {
	head, err := p.repository.Head(ctx, c.Channel)
	if err != nil {
		return err
	}
	versions := head.Snapshots
	if !all {
		versions = versions[:1]
	}
	byDefault, _ := catalog.Default(c.Chain)
	for _, s := range versions {
		m, err := p.repository.Manifest(ctx, c.Channel, s.Version)
		if err != nil {
			return err
		}
		e := snapshotEvent{
			Event: "snapshot", Publisher: p.name, Chain: c.Chain, Channel: c.Channel, Default: byDefault == c.Channel,
			Version: m.Version, Files: m.Files, RawBytes: m.RawSize, StoredBytes: m.StoredSize,
		}
		if m.Block != nil {
			e.Block = m.Block.Number
		}
		if out.JSON {
			out.Event(e)
			continue
		}
		chain := c.Chain
		if e.Default {
			chain += " (default)"
		}
		out.Result("%-34s %-16s %10s %10s  %s", c.Channel, m.Version, term.Size(m.RawSize), term.Size(m.StoredSize), chain)
	}
	return nil
}
