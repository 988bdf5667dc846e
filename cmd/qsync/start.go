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
func nodeFlags(m *manifest.Manifest, target string) []string {
	c, err := chain.Lookup(m.Chain.ID)
	if err != nil {
		return nil
	}
	if c.Protocol == chain.EVM {
		below, _ := c.Directory(m.Database.Kind)
		if base, fits := strings.CutSuffix(target, "/"+below); fits && below != "" {
			return []string{"--datadir", base, "--db.engine", m.Database.Kind}
		}
		return nil
	}
	flags := []string{"--chain", c.ID}
	if below, ok := c.Directory(m.Database.Kind); ok {
		flags = append(flags, "--database", m.Database.Kind)
		if base, fits := strings.CutSuffix(target, "/"+below); fits {
			flags = append(flags, "--base-path", base)
		}
	}
	if m.Database.StatePruning != "" {
		flags = append(flags, "--state-pruning", m.Database.StatePruning)
	}
	if m.Database.BlocksPruning != "" {
		flags = append(flags, "--blocks-pruning", m.Database.BlocksPruning)
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
