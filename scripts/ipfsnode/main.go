// ipfsnode puts what a directory has been published to on IPFS, and serves it until it
// is told to end:
//
//	ipfsnode TREE CHANNEL KEY_FILE STATE
//
// The files peer and gateway in STATE then have its addresses, and site the root of all
// that is published. It is for tests and benchmarks.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/qsync/qsync/publish/ipfs"
	"github.com/qsync/qsync/publish/ipfs/ipfstest"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: ipfsnode TREE CHANNEL KEY_FILE STATE")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "ipfsnode:", err)
		os.Exit(1)
	}
}

// memory is the soft limit that the agent has with a node.
const memory = 160 << 20

func serve(tree, channel, keyFile, state string) error {
	debug.SetMemoryLimit(memory)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := ipfstest.Publish(ctx, tree, channel, keyFile, filepath.Join(state, "view"))
	if err != nil {
		return err
	}
	defer p.View.Close()
	text, err := ipfs.NewIdentity()
	if err != nil {
		return err
	}
	identity, err := ipfs.ParseIdentity(text)
	if err != nil {
		return err
	}
	n, err := ipfs.Start(ctx, ipfs.Options{
		Identity: identity, State: filepath.Join(state, "ipfs.db"), Blocks: p.View, DHT: ipfs.DHTOff,
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Gateway: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	for _, file := range [][2]string{{"peer", n.Addrs()[0]}, {"gateway", "http://" + n.Gateway()}, {"site", p.Site.String()}} {
		if err := renameio.WriteFile(filepath.Join(state, file[0]), []byte(file[1]+"\n"), 0o644); err != nil {
			return errors.Join(err, n.Close())
		}
	}
	<-ctx.Done()
	return n.Close()
}
