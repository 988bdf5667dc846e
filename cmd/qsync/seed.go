package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
)

type seedOptions struct {
	publisherOptions
	seedingOptions
	directory string
	name      string
	version   string
}

func seedCommand() *cobra.Command {
	o := seedOptions{seedingOptions: defaultSeeding()}
	cmd := &cobra.Command{
		Use:   "seed DIR CHAIN|CHANNEL",
		Short: "Give a restored database to others",
		Long: `Be a node of IPFS that gives a restored directory to other operators: its chunks of the
version that it was restored to, and of newer ones as they are published. A node may
run on it: each chunk is hashed when somebody asks for it, and what is not the
snapshot's any more is not given. It only reads.

Others fetch from here with --peer and one of the addresses that are printed, or find
it in the DHT with --only ipfs. It goes on until it is interrupted.`,
		Example: `  qsync seed ~/.local/share/polkadot/chains/polkadot/db polkadot --rate 50MiB`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.directory, o.name = args[0], args[1]
			return seed(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	o.publisherOptions.addFlags(cmd)
	o.seedingOptions.addFlags(cmd, "")
	cmd.Flags().StringVar(&o.version, "version", "", "`VERSION` that it was restored to, YYYYMMDD-HHMMSS (default: the newest)")
	return cmd
}

func seed(ctx context.Context, out *term.Output, o seedOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	directory, err := filepath.Abs(o.directory)
	if err != nil {
		return err
	}
	return o.asking(out, func(_ *money, publishers []publisher) error {
		c, err := findChannel(ctx, out, publishers, o.name)
		if err != nil {
			return err
		}
		c.sayOthers(out)
		m, err := c.publisher.repository.Manifest(ctx, c.name, o.version)
		if err != nil {
			return err
		}
		s := &seeding{seedingOptions: o.seedingOptions, publisher: c.publisher, directory: directory, out: out}
		return s.run(ctx, m)
	})
}
