package main

import (
	"context"
	"errors"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/snapshot/chain"
)

// checkRPC asks the node what it is asked before each run.
func (d *doctor) checkRPC(ctx context.Context, cfg *config.Agent, c *config.Channel) {
	what := "rpc of " + c.Name
	if c.RPC == "" {
		d.warn(what, "add rpc: http://127.0.0.1:9944, or where your node answers", "none: a node that syncs, or is on another chain, is published all the same")
		return
	}
	health, err := agent.AskNode(ctx, cfg, c)
	switch {
	case errors.Is(err, chain.ErrUnhealthy) && !errors.Is(err, chain.ErrWrongNode):
		d.warn(what, "wait until it is well: runs are put off until then", "%s", err)
	case err != nil:
		d.failed(what, err, "start the node, and compare rpc: with where it answers")
	default:
		d.ok(what, "%s %s, block %d", health.Node.Implementation, health.Node.Version, health.Block.Number)
	}
}
