package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/snapshot/chain"
)

func checkNodeCommand() *cobra.Command {
	var o rpcOptions
	cmd := &cobra.Command{
		Use:   "check-node URL --check-rpc URL",
		Short: "Compare a node with independent ones",
		Long: `Ask a node that was started on a restored database for its genesis and its newest
finalized block, and nodes that are independent of the snapshot's publisher for
their block at that height. All that have it must have the same, and at least one.`,
		Example: "  qsync check-node http://127.0.0.1:9944 --check-rpc https://rpc.polkadot.io",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return checkNode(cmd.Context(), term.NewOutput(cmd), args[0], o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func checkNode(ctx context.Context, out *term.Output, url string, o rpcOptions) error {
	nodes, err := o.nodes(nil, "")
	if err != nil {
		return err
	}
	own, err := (&rpcOptions{urls: []string{url}}).nodes(nil, "")
	if err != nil {
		return term.Usagef("want the JSON-RPC of the node as http://HOST… or https://HOST…")
	}
	node := own[0]
	if len(nodes) == 0 {
		return term.Usagef("there is no --check-rpc URL to compare with")
	}
	for _, n := range nodes {
		if n.Name() == node.Name() {
			return term.Usagef("%s cannot be compared with itself", node.Name())
		}
	}
	genesis, err := node.Genesis(ctx)
	if err != nil {
		return term.WithHint(err, "start the node, and wait until its JSON-RPC answers")
	}
	block, err := node.Block(ctx)
	if err != nil {
		return err
	}
	if block.Number == 0 {
		return term.WithHint(fmt.Errorf("%s has nothing but its genesis: block 0 is %w by itself", node.Name(), chain.ErrUnconfirmed),
			"if that stays so, its base path is not where the database was restored to")
	}
	if !out.JSON {
		out.Say("%s is at block %d %s", node.Name(), block.Number, block.Hash)
	}
	return confirm(ctx, out, nodes, chain.Claim{Genesis: genesis, Block: block, Fresh: true})
}

// sayNext names the command that compares the node with others, once it runs.
func sayNext(out *term.Output, chainID string, nodes []*chain.Client) {
	if len(nodes) == 0 || out.JSON {
		return
	}
	own := "http://127.0.0.1:9944"
	if protocolOf(chainID) == chain.EVM {
		own = "http://127.0.0.1:8545"
	}
	var flags strings.Builder
	for _, n := range nodes {
		shown := n.Name()
		if strings.TrimRight(n.URL, "/") != shown {
			shown += "/…" // there may be a key behind it
		}
		flags.WriteString(" --check-rpc " + shown)
	}
	out.Say("when the node runs: qsync check-node %s%s", own, flags.String())
}
