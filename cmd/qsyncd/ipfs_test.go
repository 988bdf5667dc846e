package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// configureIPFS is configure with a node among the targets.
func (d *daemon) configureIPFS(node, schedule string) {
	d.Helper()
	must(d.T, os.WriteFile(filepath.Join(d.dir, "qsyncd.yaml"), fmt.Appendf(nil, `
publisher: snapshots.example.org
key: snapshots.example.org.key
state: state
targets:
  - dir: {path: out}
  - ipfs: {swarm: [/ip4/127.0.0.1/tcp/0], dht: off, %s}
channels:
  - {name: demo-files, chain: demo, database: {kind: files, path: db}, node: {none: {}}, schedule: %q}
`, node, schedule), 0o644))
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// answers reports whether a gateway is there.
func answers(address string) bool {
	resp, err := http.Get("http://" + address + "/ipfs/bafkqaaa?format=raw")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// TestDaemonIPFS: the agent keeps a node of IPFS over reloads, starts another when its
// configuration has changed, and goes on without one that cannot be started.
func TestDaemonIPFS(t *testing.T) {
	d := newDaemon(t)
	must(t, os.Mkdir(filepath.Join(d.dir, "db"), 0o755))
	first, second := freePort(t), freePort(t)
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	reload := func(node, schedule string) {
		d.configureIPFS(node, schedule)
		must(t, d.cmd.Process.Signal(syscall.SIGHUP))
	}
	started := func() int { return strings.Count(d.log.String(), "the node of IPFS has started") }

	d.configureIPFS("gateway: "+first, "0 4 1 1 *")
	d.start()
	eventually(t, patience, "the gateway answers", func() bool { return answers(first) })
	info, err := os.Stat(filepath.Join(d.dir, "state", "ipfs.key"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the identity has the mode %s", info.Mode())
	}
	t.Logf("with a node that waits it takes %d KiB of memory", memory(t, d.cmd.Process.Pid))

	reload("gateway: "+first, "0 5 1 1 *")
	eventually(t, patience, "it is reloaded", func() bool { return strings.Contains(d.log.String(), "the configuration is read again") })
	if !answers(first) || started() != 1 {
		t.Errorf("the node was started %d times", started())
	}
	reload("gateway: "+second, "0 5 1 1 *")
	eventually(t, patience, "the gateway answers at its new address", func() bool { return answers(second) })
	if answers(first) || started() != 2 {
		t.Errorf("the node was started %d times", started())
	}
	reload("gateway: "+taken.Addr().String(), "@every 1s")
	eventually(t, patience, "the agent goes on without a node", func() bool {
		return strings.Contains(d.log.String(), "what is published is not on IPFS") && d.last("demo-files").ID > 0
	})
	must(t, taken.Close())
	eventually(t, patience, "the node is started again", func() bool { return answers(taken.Addr().String()) })
	d.configure("demo-files", `database: {kind: files, path: db}, node: {none: {}}, schedule: "0 4 1 1 *"`)
	must(t, d.cmd.Process.Signal(syscall.SIGHUP))
	eventually(t, patience, "there is no node any more", func() bool { return !answers(taken.Addr().String()) })
	d.stop()
}
