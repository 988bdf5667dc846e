package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/snapshot/chain"
)

// rpcOptions say which independent nodes are asked whether a snapshot is of the
// chain that they know.
type rpcOptions struct{ urls []string }

func (o *rpcOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&o.urls, "check-rpc", nil,
		"`URL` of the JSON-RPC of a node that is independent of the publisher and must know the snapshot's block; may be repeated")
}

// nodes are those that the flags and the configuration name, each host once.
func (o *rpcOptions) nodes(configured []string, protocol chain.Protocol) ([]*chain.Client, error) {
	var nodes []*chain.Client
	var hosts []string
	for _, raw := range slices.Concat(o.urls, configured) {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			// Not repeated: there may be a key in it.
			return nil, term.Usagef("--check-rpc: want http://HOST… or https://HOST…, the JSON-RPC of a node over HTTP")
		}
		if host := strings.ToLower(u.Host); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
			nodes = append(nodes, &chain.Client{URL: raw, Protocol: protocol})
		}
	}
	return nodes, nil
}

// protocolOf is what the nodes of a chain speak, empty if that is not known.
func protocolOf(id string) chain.Protocol {
	c, err := chain.Lookup(id)
	if err != nil {
		return ""
	}
	return c.Protocol
}

// manifestCheck asks the nodes about the block of a manifest. It is nil if there
// is no node to ask.
func manifestCheck(out *term.Output, nodes []*chain.Client) func(context.Context, *manifest.Manifest) error {
	if len(nodes) == 0 {
		return nil
	}
	var confirmed manifest.Block // not asked for twice, when the user was asked something in between
	return func(ctx context.Context, m *manifest.Manifest) error {
		if m.Block == nil {
			return term.WithHint(fmt.Errorf("version %s: %w: it names no block that a node could confirm", m.Version, trust.ErrUntrusted),
				"ask the publisher for snapshots that name their block, or leave --check-rpc and check_rpc out")
		}
		if *m.Block == confirmed {
			return nil
		}
		if err := confirm(ctx, out, nodes, chain.Claim{Genesis: m.Chain.Genesis, Block: *m.Block}); err != nil {
			return fmt.Errorf("block %d of version %s: %w", m.Block.Number, m.Version, err)
		}
		confirmed = *m.Block
		return nil
	}
}

type checkedEvent struct {
	Event  string      `json:"event"`
	Block  int64       `json:"block"` // -1 where only the chain could be compared
	Hash   string      `json:"hash,omitempty"`
	For    []nodeEvent `json:"confirmed_by"`
	NoVote []nodeEvent `json:"no_vote,omitempty"`
}

type nodeEvent struct {
	Node string `json:"node"`
	Says string `json:"says"`
}

// confirm asks the nodes and prints what those say that agree. Where one does not,
// all of it is in the error.
func confirm(ctx context.Context, out *term.Output, nodes []*chain.Client, claim chain.Claim) error {
	answers, err := chain.Confirm(ctx, nodes, claim)
	switch {
	case errors.Is(err, chain.ErrContradicted):
		return term.WithHint(fmt.Errorf("%w: %w", trust.ErrUntrusted, err),
			"one of them is on another chain or fork than the others: compare with more nodes, and ask the publisher")
	case errors.Is(err, chain.ErrUnconfirmed):
		return term.WithHint(err, "name a node with --check-rpc that answers and has that block, or run it again later")
	case err != nil:
		return err
	}
	e := checkedEvent{Event: "checked", Block: claim.Block.Number, Hash: claim.Block.Hash}
	for _, a := range answers {
		if a.Vote == chain.For {
			e.For = append(e.For, nodeEvent{a.Node, a.Says})
		} else {
			e.NoVote = append(e.NoVote, nodeEvent{a.Node, a.Says})
		}
	}
	if out.JSON {
		out.Event(e)
		return nil
	}
	confirmed := "confirmed"
	if claim.Block.Number < 0 {
		confirmed = "on the same chain"
	}
	for _, n := range e.For {
		out.Say("%s: %s %s", confirmed, n.Node, n.Says)
	}
	for _, n := range e.NoVote {
		out.Say("no vote: %s %s", n.Node, n.Says)
	}
	return nil
}
