package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
)

// listenTimeout is how long the agent may take to answer the doctor.
const listenTimeout = 5 * time.Second

// exposedAdvice is for an address that more can reach than those who run the service.
const exposedAdvice = "listen on loopback or in a private network, or let a firewall see to it"

// checkListen looks whether the agent answers over HTTP, or could.
func (d *doctor) checkListen(ctx context.Context, cfg *config.Agent) {
	if cfg.Listen == "" {
		return
	}
	const what = "metrics"
	at := string(cfg.Listen)
	if agent.Running(cfg.State) && !strings.HasSuffix(at, ":0") {
		if err := askAgentHTTP(ctx, at); err != nil {
			d.failed(what, err, "systemctl reload qsyncd, if listen: is new; otherwise look at the agent's log, and who has the address: ss -ltnp")
			return
		}
		d.ok(what, "the agent answers at %s", at)
	} else {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			d.failed(what, err, "something else has the address: ss -ltnp shows it")
			return
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			d.failed(what, err, "this machine has no such address")
			return
		case err != nil:
			d.failed(what, err, "")
			return
		}
		listener.Close()
		d.ok(what, "%s is free for the agent", at)
	}
	if cfg.Listen.Exposed() {
		d.warn(what, exposedAdvice, "%s may be reached from everywhere: what is told there is not secret, but nobody's business", at)
	}
}

// askAgentHTTP asks it whether it lives.
func askAgentHTTP(ctx context.Context, at string) error {
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	url := "http://" + net.JoinHostPort(host, port) + "/healthz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s: %s", url, resp.Status)
	}
	return nil
}
