package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/snapshot/chain"
)

// checkUnsigned refuses what does not go with a place that nobody signs, and such a
// place without the user's word that he wants it.
func (o *fetchOptions) checkUnsigned() error {
	from := slices.ContainsFunc(o.from, source.IsUnsigned)
	switch {
	case from && !o.unsigned:
		return term.WithHint(fmt.Errorf("what is at parity+… is %w: nobody has signed it", trust.ErrUntrusted),
			"add --unsigned to take files that nobody vouches for, or fetch from a publisher that signs")
	case !o.unsigned:
		return nil
	case !from || len(o.from) > 1:
		return term.Usagef("--unsigned wants one --from parity+https://…, and nothing else to read from")
	case len(o.trust) > 0 || o.threshold != 0:
		return term.Usagef("--unsigned and --trust: nothing is signed that a key could vouch for")
	case len(o.peers) > 0 || len(o.gateways) > 0 || len(o.only) > 0:
		return term.Usagef("--unsigned does without --peer, --gateway and --only: IPFS has what is signed")
	case o.cookieFile != "" || o.signURLs != "" || o.configFile != "":
		return term.Usagef("--unsigned does without --cookie-file, --sign-urls and --config: nothing of a publisher is used for files that nobody signs")
	case o.inPlace || len(o.seeds) > 0:
		return term.Usagef("--unsigned does without --in-place and --seed: without digests nothing on a disk can be recognised")
	}
	if err := manifest.CheckChannel(o.name); err != nil {
		return &term.UsageError{Err: err}
	}
	return nil
}

// fetchUnsigned restores a snapshot that nobody has signed.
func fetchUnsigned(ctx context.Context, out *term.Output, o fetchOptions) error {
	err := fetchTree(ctx, out, o)
	if errors.Is(err, fetcher.ErrNotFound) {
		err = term.WithHint(err, "leave the version out to get the newest one, or compare the URL with the publisher's page")
	}
	return err
}

func fetchTree(ctx context.Context, out *term.Output, o fetchOptions) error {
	tree, channel, version, err := source.OpenUnsigned(o.from[0])
	if err != nil {
		return &term.UsageError{Err: err}
	}
	switch {
	case version != "" && o.version != "" && version != o.version:
		return term.Usagef("--version %s: the URL ends in version %s", o.version, version)
	case version == "":
		version = o.version
	}
	if other := chainOf(channel); other != "" && other != o.name {
		return term.Usagef("%s is a snapshot of %s, asked for was %s", channel, other, o.name)
	}
	nodes, err := o.nodes(nil, protocolOf(o.name))
	if err != nil {
		return err
	}
	genesis := knownGenesis(o.name)
	if len(nodes) > 0 && genesis == "" {
		return term.Usagef("--check-rpc: the genesis of chain %s is not known, and nothing else could be compared", o.name)
	}
	target := o.to
	if target == "" {
		s, err := fetcher.LookUnsigned(ctx, tree, version)
		if err != nil {
			return err
		}
		if target, err = databaseDirectory(o.name, manifest.Database{Kind: s.Kind}, o.basePath); err != nil {
			return err
		}
	}
	options := fetcher.Options{Unsigned: tree, Channel: channel, Version: version}
	if len(nodes) > 0 {
		options.CheckUnsigned = func(ctx context.Context, s *fetcher.UnsignedSnapshot) error {
			if s.LastBlock < 0 {
				out.Say("%s does not say which is the last block of version %s: only the chain is compared", tree, s.Version)
			}
			if err := confirm(ctx, out, nodes, chain.Claim{Genesis: genesis, Block: manifest.Block{Number: s.LastBlock}}); err != nil {
				return fmt.Errorf("version %s: %w", s.Version, err)
			}
			return nil
		}
	}
	result, target, err := o.restore(ctx, out, options, target, printPlanOnly(out))
	if err != nil || o.dryRun {
		return err
	}
	s := result.Unsigned
	printDone(out, result, restored{
		channel: channel, version: s.Version, chain: o.name, database: manifest.Database{Kind: s.Kind}, files: s.Files, rawSize: s.RawSize,
	}, target)
	sayNext(out, o.name, nodes)
	return nil
}

func printPlanOnly(out *term.Output) func(*fetcher.Plan) error {
	return func(p *fetcher.Plan) error {
		printPlan(out, p, nil)
		return nil
	}
}

// chainOf is the chain whose name a channel begins with, <chain>-<database>-…, or
// empty if that is none that is known.
func chainOf(channel string) string {
	for _, id := range chain.IDs() {
		c, err := chain.Lookup(id)
		if err != nil {
			continue
		}
		rest, fits := strings.CutPrefix(channel, id+"-")
		if kind, _, _ := strings.Cut(rest, "-"); fits {
			if _, ok := c.Directory(kind); ok {
				return id
			}
		}
	}
	return ""
}
