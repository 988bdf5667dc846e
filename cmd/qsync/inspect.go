package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
)

type inspectOptions struct {
	publisherOptions
	name    string
	version string
}

func inspectCommand() *cobra.Command {
	var o inspectOptions
	cmd := &cobra.Command{
		Use:   "inspect CHAIN|CHANNEL",
		Short: "Show the manifest of a snapshot",
		Long: `Show what a snapshot is: chain, block, database, sizes. With --json, the
manifest itself.`,
		Example: "  qsync inspect polkadot-rocksdb-archive --version 20261122-040003",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return inspect(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	o.addFlags(cmd)
	cmd.Flags().StringVar(&o.version, "version", "", "`VERSION` to show, YYYYMMDD-HHMMSS (default: the newest)")
	return cmd
}

func inspect(ctx context.Context, out *term.Output, o inspectOptions) error {
	return o.asking(out, func(_ *money, publishers []publisher) error {
		c, err := findChannel(ctx, out, publishers, o.name)
		if err != nil {
			return err
		}
		m, err := c.publisher.repository.Manifest(ctx, c.name, o.version)
		if err != nil {
			return err
		}
		c.sayOthers(out)
		printManifest(out, m)
		return nil
	})
}

func printManifest(out *term.Output, m *manifest.Manifest) {
	if out.JSON {
		out.Event(m)
		return
	}
	for _, row := range describe(m) {
		if row[1] != "" {
			out.Result("%-15s %s", row[0], row[1])
		}
	}
}

// describe is a manifest for people. A row without a value is not shown.
func describe(m *manifest.Manifest) [][2]string {
	rows := [][2]string{
		{"channel", m.Channel},
		{"version", m.Version},
		{"previous", m.Previous},
		{"created", m.Created},
		{"chain", m.Chain.ID},
		{"genesis", m.Chain.Genesis},
	}
	if m.Block != nil {
		rows = append(rows, [2]string{"block", fmt.Sprintf("%d %s", m.Block.Number, m.Block.Hash)})
	}
	if m.Node != nil {
		rows = append(rows, [2]string{"node", m.Node.Implementation + " " + m.Node.Version})
	}
	rows = append(rows, [][2]string{
		{"database", m.Database.Kind},
		{"directory", m.Database.Directory},
		{"state pruning", m.Database.StatePruning},
		{"blocks pruning", m.Database.BlocksPruning},
	}...)
	for _, p := range slices.Sorted(maps.Keys(m.Database.VersionFiles)) {
		rows = append(rows, [2]string{"version file", p + " = " + strings.TrimSpace(m.Database.VersionFiles[p])})
	}
	rows = append(rows, [][2]string{
		{"files", fmt.Sprint(m.Files)},
		{"chunks", fmt.Sprint(m.Chunks)},
		{"size", fmt.Sprintf("%s (%d bytes)", term.Size(m.RawSize), m.RawSize)},
		{"stored size", fmt.Sprintf("%s (%d bytes)", term.Size(m.StoredSize), m.StoredSize)},
		{"index", fmt.Sprintf("%s (%d bytes)", m.Index.Digest, m.Index.Size)},
	}...)
	for _, l := range m.Locations {
		rows = append(rows, [2]string{"location", strings.TrimSpace(l.Type + " " + l.URL + " " + describeUse(l.Use))})
	}
	if m.IPFS != nil {
		rows = append(rows, [2]string{"ipfs raw", m.IPFS.Raw}, [2]string{"ipfs zstd", m.IPFS.Zstd}, [2]string{"ipfs use", describeUse(m.IPFS.Use)})
	}
	return rows
}

// describeUse is how a place is to be used; nothing if like any other.
func describeUse(u manifest.Use) string {
	switch u {
	case manifest.UseLast:
		return "(for data that no other place has)"
	case manifest.UseNever:
		return "(not for data at present)"
	}
	return ""
}
