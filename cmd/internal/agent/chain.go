package agent

import (
	"cmp"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/snapshot/chain"
)

// identity is the chain of a channel as its manifests say it. The configuration
// has been checked against what is known of the chain.
func identity(c *config.Channel) manifest.Chain {
	known, _ := chain.Lookup(c.Chain) // of one that is not known, nothing is known
	return manifest.Chain{ID: c.Chain, Genesis: cmp.Or(known.Genesis, c.Genesis)}
}

// directoryBelowBase is where the database belongs below a node's base path, or
// empty.
func directoryBelowBase(c *config.Channel) string {
	known, err := chain.Lookup(c.Chain)
	if err != nil {
		return ""
	}
	below, ok := known.Directory(c.Database.Kind)
	if !ok {
		return ""
	}
	return below
}
