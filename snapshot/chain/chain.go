package chain

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Protocol is the JSON-RPC that a chain's nodes speak. The empty one is not
// known: the node is asked.
type Protocol string

// The protocols.
const (
	Substrate Protocol = "substrate" // system_*, chain_*, state_*
	EVM       Protocol = "evm"       // eth_*, net_*, web3_*
)

// Chain is a chain and where its node keeps its data.
type Chain struct {
	ID string // as in channel names
	// SpecID is the name of the chain's directory, which is the id of the chain
	// specification. Only Substrate's nodes have one.
	SpecID   string
	Genesis  string // hash of block 0: 0x and 64 lower-case hex digits
	Protocol Protocol
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
	gethPaths   = []string{"~/.ethereum"}
)

var chains = []Chain{
	{"polkadot", "polkadot", "0x91b171bb158e2d3848fa23a9f1c25182fb8e20313b2c1eb49219da7a70ce90c3", Substrate, relayPaths},
	{"kusama", "ksmcc3", "0xb0a8d493285c2df73290dfb7e61f870f17b41801197a149ca93654499ea3dafe", Substrate, relayPaths},
	{"westend", "westend2", "0xe143f23803ac50e8f6f8e62695d1ce9e4e1d68aa36c1cd2cfd15340213f3423e", Substrate, relayPaths},
	{"paseo", "paseo", "0x77afd6190f1554ad45fd0d31aee62aacc33c6db0ea801129acb813f913e0764f", Substrate, relayPaths},
	{"asset-hub-polkadot", "asset-hub-polkadot", "0x68d56f15f85d3136970ec16946040bc1752654e906147f7e43e9d539d7c3de2f", Substrate, systemPaths},
	{"asset-hub-kusama", "asset-hub-kusama", "0x48239ef607d7928874027a43a67689209727dfb3d3dc5e5b03a39bdc2eda771a", Substrate, systemPaths},
	{"ethereum", "", "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3", EVM, gethPaths},
}

var (
	// substrateDirectories are where below a chain's directory a database of a kind lies.
	substrateDirectories = map[string]string{"rocksdb": "db", "paritydb": "paritydb"}
	// gethDirectories are the same below geth's base path, which it calls datadir.
	gethDirectories = map[string]string{"pebble": "geth/chaindata"}
)

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
	if c.Protocol == EVM {
		d, ok := gethDirectories[kind]
		return d, ok
	}
	d, ok := substrateDirectories[kind]
	return path.Join("chains", c.SpecID, d), ok
}

// Mode is how a node of the chain must be held for the cut: freeze, or stop where
// a frozen node loses blocks. geth keeps the state of the newest blocks in memory
// until it ends, and what a cut of a frozen one opens with is block 0.
func (c Chain) Mode() string {
	if c.Protocol == EVM {
		return "stop"
	}
	return "freeze"
}
