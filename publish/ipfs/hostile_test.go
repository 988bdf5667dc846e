package ipfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bsmsg "github.com/ipfs/boxo/bitswap/message"
	pb "github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	p2p "github.com/libp2p/go-libp2p/core/network"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

func openStream(t testing.TB, c *client, n *Node) p2p.Stream {
	t.Helper()
	s, err := c.NewStream(t.Context(), n.host.ID(), bsnet.ProtocolBitswap)
	must(t, err)
	return s
}

func wantlist(all ...cid.Cid) bsmsg.BitSwapMessage {
	m := bsmsg.New(false)
	for _, c := range all {
		m.AddEntry(c, 1, pb.Message_Wantlist_Block, true)
	}
	return m
}

// unknown are CIDs that nobody has.
func unknown(n int) []cid.Cid {
	all := make([]cid.Cid, n)
	for i := range all {
		all[i] = libraryCID(unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(binary.AppendUvarint(nil, uint64(i)))})
	}
	return all
}

// TestHostilePeers: none of them keeps a good one from its block.
func TestHostilePeers(t *testing.T) {
	_, links, blocks := plant(t, someFiles())
	n := start(t, options(t, blocks))
	want := libraryCID(links["full/CURRENT"].CID)
	disconnected := func(c *client) func() bool {
		return func() bool { return c.Network().Connectedness(n.host.ID()) != p2p.Connected }
	}
	for _, attack := range []struct {
		name string
		do   func(t *testing.T, c *client)
	}{
		{"a length without end", func(t *testing.T, c *client) {
			_, _ = openStream(t, c, n).Write(bytes.Repeat([]byte{0xff}, 1000))
			eventually(t, "it is disconnected", disconnected(c))
		}},
		{"a message of 4 MiB", func(t *testing.T, c *client) {
			s := openStream(t, c, n)
			_, _ = s.Write(binary.AppendUvarint(nil, 4<<20-1))
			_, _ = s.Write(make([]byte, 4<<20))
			eventually(t, "it is disconnected", disconnected(c))
		}},
		{"many messages that never end", func(t *testing.T, c *client) {
			for range 20 {
				s, err := c.NewStream(t.Context(), n.host.ID(), bsnet.ProtocolBitswap)
				must(t, err)
				_, _ = s.Write(binary.AppendUvarint(nil, maxMessage))
				_, _ = s.Write(make([]byte, maxMessage-1))
			}
		}},
		{"wants of what nobody has", func(t *testing.T, c *client) {
			s := openStream(t, c, n)
			for range 50 {
				must(t, wantlist(unknown(4000)...).ToNetV1(s))
			}
		}},
		{"nonsense", func(t *testing.T, c *client) {
			s := openStream(t, c, n)
			_, _ = s.Write(append(binary.AppendUvarint(nil, 1000), random(1, 1000)...))
		}},
		{"a want of an identity", func(t *testing.T, c *client) {
			identity, err := cid.V1Builder{Codec: cid.Raw, MhType: 0}.Sum([]byte("x"))
			must(t, err)
			must(t, wantlist(identity).ToNetV1(openStream(t, c, n)))
		}},
		{"many streams", func(t *testing.T, c *client) {
			for range 500 {
				s, err := c.NewStream(t.Context(), n.host.ID(), bsnet.ProtocolBitswap)
				if err != nil {
					return
				}
				_, _ = s.Write([]byte{0x80})
			}
		}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			c := newClient(t)
			c.connect(t, n)
			attack.do(t, c)
			good := newClient(t)
			good.connect(t, n)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if b, err := good.exchange(t).GetBlock(ctx, want); err != nil || b.Cid() != want {
				t.Errorf("%v, %v", b, err)
			}
		})
	}
}

// TestManyConnections: more than there can be are refused, and end nothing.
func TestManyConnections(t *testing.T) {
	_, links, blocks := plant(t, someFiles())
	o := options(t, blocks)
	o.Limits = Limits{Peers: 30}
	n := start(t, o)
	connected := 0
	for range 45 {
		c := newClient(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if c.Connect(ctx, infoOf(t, n)) == nil {
			connected++
		}
		cancel()
	}
	if connected == 45 || n.Stats().Peers > 30 {
		t.Errorf("%d of 45 connections were accepted, %d are there", connected, n.Stats().Peers)
	}
	_ = links
}

// TestPeerThatTakesNothing: who wants blocks and does not read them is disconnected.
func TestPeerThatTakesNothing(t *testing.T) {
	t.Parallel()
	all := map[string][]byte{"big": random(9, 40*unixfs.LeafSize)}
	_, _, blocks := plant(t, all)
	n := start(t, options(t, blocks))
	c := newClient(t)
	release := make(chan struct{})
	defer close(release)
	c.SetStreamHandler(bsnet.ProtocolBitswap, func(p2p.Stream) { <-release })
	c.connect(t, n)
	var want []cid.Cid
	for leaf := range blocks.blocks {
		want = append(want, libraryCID(leaf))
	}
	must(t, wantlist(want...).ToNetV1(openStream(t, c, n)))
	gone := time.Now().Add(sendTimeout + patience)
	for c.Network().Connectedness(n.host.ID()) == p2p.Connected {
		if time.Now().After(gone) {
			t.Fatal("it is still connected")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

var vmHWM = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMemory is how many bytes a process has had in memory at most.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	kib, err := strconv.ParseInt(string(vmHWM.FindSubmatch(status)[1]), 10, 64)
	must(t, err)
	return kib << 10
}

// serveManyEnv makes the test program a node that serves a file, for a test that
// measures its memory.
const serveManyEnv = "QSYNC_TEST_SERVE_MANY"

// TestManyPeers: the memory is bounded while 50 ask for everything, by bitswap and by
// HTTP.
func TestManyPeers(t *testing.T) {
	const peers, mib = 50, 24
	if addresses := os.Getenv(serveManyEnv); addresses != "" {
		serveMany(t, mib)
		return
	}
	if testing.Short() {
		t.Skip("with the race detector it takes another memory")
	}
	s := startServing(t)
	var readers sync.WaitGroup
	var bytesRead atomic.Int64
	for i := range peers {
		readers.Go(func() {
			if i%2 == 0 {
				for _, leaf := range s.leaves {
					bytesRead.Add(int64(len(ask(t, "GET", s.gateway+"/ipfs/"+leaf.String()+"?format=raw").body)))
				}
				return
			}
			h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics(), libp2p.DisableRelay())
			if err != nil {
				t.Error(err)
				return
			}
			defer h.Close()
			c := &client{h}
			if err := c.Connect(t.Context(), s.info); err != nil {
				t.Error(err)
				return
			}
			got, err := c.exchange(t).GetBlocks(t.Context(), s.leaves)
			if err != nil {
				t.Error(err)
				return
			}
			for b := range got {
				bytesRead.Add(int64(len(b.RawData())))
			}
		})
	}
	readers.Wait()
	if want := int64(peers * mib << 20); bytesRead.Load() != want {
		t.Errorf("%d bytes were read, want %d", bytesRead.Load(), want)
	}
	const most = 256 << 20
	peak := peakMemory(t, s.process.Pid)
	t.Logf("serving %d peers takes %d MiB of memory", peers, peak>>20)
	if peak > most {
		t.Errorf("want at most %d MiB", most>>20)
	}
}

var _ = io.EOF
var _ = debug.SetMemoryLimit
