// Package chain is what qsync knows of the chains that it was made for: their
// identity, and where their nodes keep the database. It is a table only.
package chain

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Chain is a chain and where its node keeps its data.
type Chain struct {
	ID      string // as in channel names
	SpecID  string // of the chain specification; the name of the chain's directory
	Genesis string // hash of block 0: 0x and 64 lower-case hex digits
	// BasePaths are where nodes keep their data if they are not told: below the
	// home directory (beginning with ~/), as Debian's package has it, and in a container.
	BasePaths []string
}

func basePaths(program string) []string {
	return []string{"~/.local/share/" + program, "/home/polkadot/.local/share/" + program, "/data"}
}

var (
	relayPaths  = basePaths("polkadot")
	systemPaths = basePaths("polkadot-parachain")
)

var chains = []Chain{
	{"polkadot", "polkadot", "0x91b171bb158e2d3848fa23a9f1c25182fb8e20313b2c1eb49219da7a70ce90c3", relayPaths},
	{"kusama", "ksmcc3", "0xb0a8d493285c2df73290dfb7e61f870f17b41801197a149ca93654499ea3dafe", relayPaths},
	{"westend", "westend2", "0xe143f23803ac50e8f6f8e62695d1ce9e4e1d68aa36c1cd2cfd15340213f3423e", relayPaths},
	{"paseo", "paseo", "0x77afd6190f1554ad45fd0d31aee62aacc33c6db0ea801129acb813f913e0764f", relayPaths},
	{"asset-hub-polkadot", "asset-hub-polkadot", "0x68d56f15f85d3136970ec16946040bc1752654e906147f7e43e9d539d7c3de2f", systemPaths},
	{"asset-hub-kusama", "asset-hub-kusama", "0x48239ef607d7928874027a43a67689209727dfb3d3dc5e5b03a39bdc2eda771a", systemPaths},
}

// directories are where below a chain's directory a database of a kind lies.
var directories = map[string]string{"rocksdb": "db", "paritydb": "paritydb"}

// Lookup returns the chain of an id.
func Lookup(id string) (Chain, error) {
	i := slices.IndexFunc(chains, func(c Chain) bool { return c.ID == id })
	if i < 0 {
		return Chain{}, fmt.Errorf("chain %q is not known: the known ones are %s", id, strings.Join(IDs(), ", "))
	}
	return chains[i], nil
}

// IDs are the ids of all chains.
func IDs() []string {
	ids := make([]string, len(chains))
	for i, c := range chains {
		ids[i] = c.ID
	}
	return ids
}

// Directory is where below a node's base path the chain's database of a kind
// lies, such as chains/ksmcc3/paritydb. It reports false for kinds that no node
// of the chain writes.
func (c Chain) Directory(kind string) (string, bool) {
	d, ok := directories[kind]
	return path.Join("chains", c.SpecID, d), ok
}
