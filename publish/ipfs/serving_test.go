package ipfs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// onDisk is the leaves of one file as Blocks.
type onDisk struct {
	file   *os.File
	leaves map[manifest.Digest]int64 // where they begin
}

func (d *onDisk) Get(_ context.Context, c unixfs.CID) ([]byte, error) {
	at, ok := d.leaves[c.Digest]
	if !ok {
		return nil, ErrNotFound
	}
	b := make([]byte, unixfs.LeafSize)
	if _, err := d.file.ReadAt(b, at); err != nil {
		return nil, err
	}
	if manifest.Sum(b) != c.Digest {
		return nil, fmt.Errorf("block %s has changed", c)
	}
	return b, nil
}

func (d *onDisk) Size(_ context.Context, c unixfs.CID) (int, error) {
	if _, ok := d.leaves[c.Digest]; !ok {
		return 0, ErrNotFound
	}
	return unixfs.LeafSize, nil
}

// serving is a process that serves a file's leaves.
type serving struct {
	process *os.Process
	info    peer.AddrInfo
	gateway string
	leaves  []cid.Cid
}

// startServing starts this test again as a process of its own.
func startServing(t *testing.T) *serving {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), serveManyEnv+"=1")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	s := &serving{process: cmd.Process}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		switch key {
		case "peer":
			all, err := parsePeers([]string{value})
			must(t, err)
			s.info = all[0]
		case "gateway":
			s.gateway = "http://" + value
		case "leaf":
			s.leaves = append(s.leaves, must1(cid.Decode(value)))
		case "ready":
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return s
		}
	}
	t.Fatal("the process does not serve")
	return nil
}

// serveMany serves until its input ends. It has the soft limit that the agent has.
func serveMany(t *testing.T, mib int) {
	debug.SetMemoryLimit(96 << 20)
	f, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	d := &onDisk{f, map[manifest.Digest]int64{}}
	for i := range mib {
		leaf := random(uint64(i), unixfs.LeafSize)
		must1(f.Write(leaf))
		digest := manifest.Sum(leaf)
		d.leaves[digest] = int64(i) * unixfs.LeafSize
		fmt.Fprintln(os.Stdout, "leaf", unixfs.CID{Codec: unixfs.Raw, Digest: digest})
	}
	n := start(t, options(t, d))
	fmt.Fprintf(os.Stdout, "peer %s\ngateway %s\nready\n", n.Addrs()[0], n.Gateway())
	_, _ = io.Copy(io.Discard, os.Stdin)
}
