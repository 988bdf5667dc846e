package main

import (
	"strings"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/snapshot/chain"
)

// nodeFlags are what a node must be started with to open the database in
// target, as far as that is known: a wrong database or pruning flag makes it
// abort, and a wrong base path makes it start over from genesis.
func nodeFlags(chainID string, d manifest.Database, target string) []string {
	c, err := chain.Lookup(chainID)
	if err != nil {
		return nil
	}
	if c.Protocol == chain.EVM {
		below, _ := c.Directory(d.Kind)
		if base, fits := strings.CutSuffix(target, "/"+below); fits && below != "" {
			return []string{"--datadir", base, "--db.engine", d.Kind}
		}
		return nil
	}
	flags := []string{"--chain", c.ID}
	if below, ok := c.Directory(d.Kind); ok {
		flags = append(flags, "--database", d.Kind)
		if base, fits := strings.CutSuffix(target, "/"+below); fits {
			flags = append(flags, "--base-path", base)
		}
	}
	if d.StatePruning != "" {
		flags = append(flags, "--state-pruning", d.StatePruning)
	}
	if d.BlocksPruning != "" {
		flags = append(flags, "--blocks-pruning", d.BlocksPruning)
	}
	return flags
}

func printStart(out *term.Output, flags []string) {
	if len(flags) > 0 {
		out.Say("start the node with %s", strings.Join(flags, " "))
	} else {
		out.Say("the node can be started")
	}
}
