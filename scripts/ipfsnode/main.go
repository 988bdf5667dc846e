// ipfsnode puts what a directory has been published to on IPFS, and serves it until it
// is told to end:
//
//	ipfsnode TREE CHANNEL KEY_FILE STATE
//
// It prints the addresses of its peer and of its gateway, and the root of the site. It
// is for benchmarks.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

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
	fmt.Printf("%s\nhttp://%s\n%s\n", n.Addrs()[0], n.Gateway(), p.Site)
	<-ctx.Done()
	return n.Close()
}
