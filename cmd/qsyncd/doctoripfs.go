package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/secret"
	"github.com/qsync/qsync/publish/ipfs"
)

// checkIPFS checks what a node of IPFS is started with. It starts none: the agent's
// may be running.
func (d *doctor) checkIPFS(ctx context.Context, cfg *config.Agent) {
	if cfg.IPFS == nil {
		return
	}
	const what = "ipfs"
	o, err := agent.IPFSOptions(cfg)
	if err == nil {
		err = ipfs.CheckPeers(append(o.Bootstrap, o.Peers...))
	}
	if err != nil {
		d.failed(what, err, "")
		return
	}
	identity, err := secret.Identity(cfg.IPFS.Identity)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.ok(what, "qsyncd run will make its identity, %s", cfg.IPFS.Identity)
	case err != nil:
		d.failed(what, err, "")
		return
	default:
		d.ok(what, "it is known as %s", identity.Peer())
	}
	if overview, err := agent.Look(ctx, cfg, nil); err != nil || overview.Agent != nil {
		return // the addresses are the agent's own
	}
	for _, a := range cfg.IPFS.Swarm {
		if err := tryListen(ctx, a); err != nil {
			d.warn(what, "end what listens there, or change swarm:", "other nodes will not reach it at %s: %s", a, err)
		}
	}
	if g := cfg.IPFS.Gateway; g != "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", g)
		if err != nil {
			d.failed(what+" gateway", err, "end what listens there, or change gateway:")
			return
		}
		l.Close()
	}
}

// tryListen listens at a multiaddr of TCP or QUIC, for a moment.
func tryListen(ctx context.Context, address string) error {
	parts := strings.Split(address, "/")
	where := net.JoinHostPort(parts[2], parts[4])
	if parts[3] == "udp" {
		c, err := new(net.ListenConfig).ListenPacket(ctx, "udp", where)
		if err != nil {
			return err
		}
		return c.Close()
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", where)
	if err != nil {
		return err
	}
	return l.Close()
}
