package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
)

type fetchOptions struct {
	publisherOptions
	rpcOptions
	name     string
	version  string
	to       string
	basePath string
	seeds    []string
	inPlace  bool
	dryRun   bool
	jobs     int
	rate     term.Bytes
	keepOld  bool
	yes      bool
	unsigned bool
	only     []string

	seedBack bool // give what was restored to others
	seeding  seedingOptions
}

func fetchCommand() *cobra.Command {
	o := fetchOptions{seeding: defaultSeeding()}
	cmd := &cobra.Command{
		Use:   "fetch CHAIN|CHANNEL",
		Short: "Restore a snapshot",
		Long: `Restore a snapshot into a database directory. The name of a chain stands for its
default channel. Every chunk is verified before it is written; what the target
and the seeds hold already is not fetched again. The target stays as it is until
all is there, and is then replaced at once.

It may be killed at any moment: the same command goes on where it stopped.

With --only ipfs the data comes from IPFS alone: from the nodes of --peer and --gateway
or, if none is named, from those that its DHT knows of. The head, the manifest and the
index may come from anywhere: they are signed, or named by their digest.

A publisher may ask to take less from a place for a while, mostly because it costs him too
much. Then the data comes from the other places that you name or, if there are none,
from those that the manifest names and from IPFS; --dry-run shows from where.

Stop the node first. Its keys are never touched: only the database directory is.

With --unsigned it takes the files of a tree that nobody has signed, as Parity
publishes them: --from parity+https://HOST/CHANNEL, with or without /VERSION. Then
nothing vouches for them, neither who made them nor that they arrived unchanged.`,
		Example: `  qsync fetch polkadot
  qsync fetch polkadot --base-path /data --dry-run
  qsync fetch kusama-paritydb-prune --from https://snapshots.example.org \
      --trust snapshots.example.org+1a2b3c4d+AY… --to /data/chains/ksmcc3/paritydb
  qsync fetch polkadot --unsigned --from parity+https://snapshots.polkadot.io/polkadot-rocksdb-prune`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return fetch(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	o.publisherOptions.addFlags(cmd)
	o.rpcOptions.addFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.version, "version", "", "`VERSION` to restore, YYYYMMDD-HHMMSS (default: the newest)")
	flags.StringVar(&o.to, "to", "", "database `DIR` that the snapshot becomes: for Polkadot the one that holds full/")
	flags.StringVar(&o.basePath, "base-path", "", "base path `DIR` of the node; the database directory below it follows from the chain (default: the chain's)")
	flags.StringArrayVar(&o.seeds, "seed", nil, "older database `DIR` whose chunks can be reused; may be repeated")
	flags.BoolVar(&o.inPlace, "in-place", false, "repair the target itself: needs no room for a second copy, and the old database is lost at once")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the plan and change nothing")
	flags.IntVar(&o.jobs, "jobs", 0, "most connections, `N`, over all sources (default: measured)")
	flags.Var(&o.rate, "limit-rate", "most `BYTES` a second, like 50MiB (default: no limit)")
	flags.BoolVar(&o.keepOld, "keep-old", false, "keep the directory that is replaced, beside the new one")
	flags.BoolVar(&o.yes, "yes", false, "agree to what would be asked, but not to pay")
	flags.BoolVar(&o.unsigned, "unsigned", false, "take files from --from parity+https://… though nobody vouches for them")
	flags.StringSliceVar(&o.only, "only", nil, "`KIND` of source that data may come from: http, s3, ipfs or dir; may be repeated (default: any)")
	flags.BoolVar(&o.seedBack, "seed-back", false, "when all is restored, give it to others until it is interrupted, as qsync seed does")
	o.seeding.addFlags(cmd, "seed-back-")
	cmd.MarkFlagsMutuallyExclusive("to", "base-path")
	cmd.MarkFlagsMutuallyExclusive("seed-back", "dry-run")
	cmd.MarkFlagsMutuallyExclusive("seed-back", "unsigned")
	cmd.MarkFlagsMutuallyExclusive("in-place", "keep-old")
	for _, name := range []string{"to", "base-path", "seed"} {
		term.Must(cmd.MarkFlagDirname(name))
	}
	return cmd
}

func fetch(ctx context.Context, out *term.Output, o fetchOptions) error {
	if o.jobs < 0 {
		return term.Usagef("--jobs %d: want 1 or more", o.jobs)
	}
	if err := cmp.Or(o.checkUnsigned(), checkOnly(o.only)); err != nil {
		return err
	}
	if o.unsigned {
		return fetchUnsigned(ctx, out, o)
	}
	return o.asking(out, func(m *money, publishers []publisher) error {
		return fetchFrom(ctx, out, o, m, publishers)
	})
}

func fetchFrom(ctx context.Context, out *term.Output, o fetchOptions, money *money, publishers []publisher) error {
	c, err := findChannel(ctx, out, publishers, o.name)
	if err != nil {
		return err
	}
	c.sayOthers(out)
	nodes, err := o.nodes(c.publisher.checkRPC, protocolOf(c.chain))
	if err != nil {
		return err
	}
	from := &places{publisher: &c.publisher, only: o.only, consent: money.consent, out: out}
	if err := from.check(); err != nil {
		return err
	}
	target := o.to
	if target == "" {
		m, err := c.publisher.repository.Manifest(ctx, c.name, o.version)
		if err != nil {
			return err
		}
		if target, err = databaseDirectory(m.Chain.ID, m.Database, o.basePath); err != nil {
			return err
		}
	}
	options := fetcher.Options{
		Repository: c.publisher.repository,
		Places:     from.choose,
		Channel:    c.name,
		Version:    o.version,
		Chain:      c.chain,
		Genesis:    knownGenesis(c.chain),
		Check:      manifestCheck(out, nodes),
	}
	result, target, err := o.restore(ctx, out, options, target, func(p *fetcher.Plan) error {
		costs := costs(ctx, from.chosen, p)
		printPlan(out, p, costs)
		if o.dryRun {
			return nil
		}
		return money.agreeToFetch(p, costs)
	})
	if err != nil || o.dryRun {
		return from.explain(err)
	}
	m := result.Manifest
	printDone(out, result, restored{m.Channel, m.Version, m.Chain.ID, m.Database, m.Files, m.RawSize}, target)
	sayNext(out, m.Chain.ID, nodes)
	if !o.seedBack {
		return nil
	}
	s := &seeding{seedingOptions: o.seeding, publisher: c.publisher, directory: target, out: out}
	return s.run(ctx, m)
}

// restore runs a restore, shows how it goes, and asks before it replaces what is no
// database. planned is told the plan, and has to agree to it.
func (o *fetchOptions) restore(ctx context.Context, out *term.Output, options fetcher.Options, target string,
	planned func(*fetcher.Plan) error,
) (result *fetcher.Result, absolute string, err error) {
	if target, err = filepath.Abs(target); err != nil {
		return nil, "", err
	}
	display := out.NewDisplay()
	defer func() { display.Close() }()
	options.Target = target
	options.Seeds, options.InPlace, options.KeepOld = o.seeds, o.inPlace, o.keepOld
	options.Replace = o.yes
	options.DryRun = o.dryRun
	options.Jobs, options.RateLimit = o.jobs, int64(o.rate)
	options.Confirm = func(p *fetcher.Plan) error { return display.Without(func() error { return planned(p) }) }
	options.Progress = func(p fetcher.Progress) { display.Show(fetchProgress(p)) }
	options.Log = out.Log()
	result, err = fetcher.Run(ctx, options)
	// Money is agreed to by its own flag, not by a yes to another question.
	if errors.Is(err, fetcher.ErrConsent) && !errors.Is(err, source.ErrRequesterPays) {
		display.Close()
		if err := out.Confirm(err, "Replace all that is in "+target+"?"); err != nil {
			return nil, "", err
		}
		display = out.NewDisplay()
		options.Replace = true
		result, err = fetcher.Run(ctx, options)
	}
	if err == nil && o.dryRun {
		display.Close()
		err = planned(result.Plan)
	}
	return result, target, err
}

func fetchProgress(p fetcher.Progress) term.Progress {
	t := term.Progress{Phase: string(p.Phase)}
	switch p.Phase {
	case fetcher.PhaseVerifying:
		t.Done = p.CheckedBytes
	case fetcher.PhaseFetching:
		t.Done, t.Total = p.FetchedBytes, p.FetchBytes
	}
	for _, s := range p.Sources {
		name := s.Name
		if s.State != "" {
			name += fmt.Sprintf(" (%s)", s.State)
		}
		t.Sources = append(t.Sources, name)
	}
	return t
}
