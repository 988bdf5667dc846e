package snapshot_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
	"github.com/qsync/qsync/snapshot/node"
	"github.com/qsync/qsync/snapshot/snapshottest"
)

// liveNode is a process that writes a database.
type liveNode struct {
	program, dir, pidFile string
	cmd                   *exec.Cmd
	output                strings.Builder
}

// startNode starts a node on a database and waits until it writes.
func startNode(t *testing.T, program, dir string, rate int) *liveNode {
	t.Helper()
	n := &liveNode{program: program, dir: dir, pidFile: filepath.Join(t.TempDir(), "pid")}
	must(t, os.MkdirAll(dir, 0o755))
	n.cmd = exec.Command(program, "run", "--db", dir, "--pid-file", n.pidFile, "--rate", fmt.Sprint(rate))
	n.cmd.Stderr = &n.output
	must(t, n.cmd.Start())
	t.Cleanup(func() {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(n.pidFile); err == nil {
			return n
		}
		if time.Now().After(end) {
			t.Fatalf("the node does not start: %s", n.output.String())
		}
	}
}

// mustWrite fails unless the database grows.
func (n *liveNode) mustWrite(t *testing.T) {
	t.Helper()
	before := n.written(t)
	for end := time.Now().Add(20 * time.Second); n.written(t) == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the node does not write any more: %s", n.output.String())
		}
	}
}

// written is the number of bytes that the node has handed to the system.
func (n *liveNode) written(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", n.cmd.Process.Pid))
	must(t, err)
	var read, written int64
	_, err = fmt.Sscanf(string(b), "rchar: %d\nwchar: %d", &read, &written)
	must(t, err)
	return written
}

// TestLiveDatabase takes snapshots of a database while it is written, by every
// fork on every filesystem, and lets the engine judge the restored copies.
func TestLiveDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs real databases")
	}
	engines := map[string]func(testing.TB) string{"pebble": require.PebbleNode, "rocksdb": require.RocksDBNode}
	for _, test := range []struct{ engine, fork, filesystem string }{
		{"pebble", "hardlink", ""},
		{"pebble", "copy", ""},
		{"pebble", "reflink", "xfs"},
		{"pebble", "auto", "btrfs"},
		{"rocksdb", "btrfs", "btrfs"},
		{"rocksdb", "hardlink", ""},
		{"rocksdb", "copy", ""},
		{"rocksdb", "reflink", "btrfs"},
		{"rocksdb", "auto", "xfs"},
	} {
		t.Run(test.engine+" "+test.fork+" "+test.filesystem, func(t *testing.T) {
			parent := t.TempDir()
			if test.filesystem != "" {
				parent = snapshottest.Filesystem(t, test.filesystem, 1<<30)
			}
			dir := filepath.Join(parent, "db")
			live := startNode(t, engines[test.engine](t), filepath.Join(dir, "full"), 24<<20)
			sink := &memory{}
			o := snapshot.Options{
				Database: dir, Kind: kind(t, test.engine), Sink: sink, Forker: forker(t, test.fork),
				StateFile: filepath.Join(t.TempDir(), "state"),
				Node:      &node.Signal{PIDFile: live.pidFile, Database: node.Database{Path: dir, Kind: kind(t, test.engine)}},
			}
			for round := range 3 {
				time.Sleep(time.Duration(round) * 300 * time.Millisecond)
				result, err := snapshot.Run(t.Context(), o)
				must(t, err)
				live.mustWrite(t)
				restored := t.TempDir()
				sink.restore(t, result.Index, restored)
				checked, err := exec.Command(live.program, "check", "--db", filepath.Join(restored, "full")).CombinedOutput()
				if err != nil {
					t.Fatalf("round %d: the restored database: %v\n%s", round, err, checked)
				}
				t.Logf("%s: pause %s, %d MiB, read %d, reused %d: %s", result.Fork, result.Pause,
					result.RawBytes>>20, result.ReadBytes>>20, result.ReusedBytes>>20, checked)
				o.Previous = previous(t, result)
			}
			gone(t, fork.Path(dir))
			gone(t, o.StateFile)
		})
	}
}

// Without a node that would be stopped, a database that is open is refused.
func TestLiveDatabaseWithoutNode(t *testing.T) {
	for engine, program := range map[string]func(testing.TB) string{"pebble": require.PebbleNode, "rocksdb": require.RocksDBNode} {
		t.Run(engine, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "db")
			live := startNode(t, program(t), filepath.Join(dir, "full"), 1<<20)
			o := options(t, dir, &memory{}, &node.None{Database: node.Database{Path: dir, Kind: kind(t, engine)}})
			o.Kind = kind(t, engine)
			if _, err := snapshot.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "a process has the database open") {
				t.Errorf("Run over an open database = %v", err)
			}
			live.mustWrite(t)
			_ = live.cmd.Process.Kill()
			_ = live.cmd.Wait()
			_, err := snapshot.Run(t.Context(), o)
			must(t, err)
		})
	}
}
