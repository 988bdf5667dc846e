package chaintest

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/scripts/require"
)

// Geth is a geth on a chain of its own, which makes a block for each
// transaction that it is sent.
type Geth struct {
	URL      string // of its JSON-RPC
	DataDir  string // its base path
	Database string // the directory of its database, below DataDir
	PID      int

	cmd     *exec.Cmd
	account string
}

var gethListens = regexp.MustCompile(`HTTP server started.*endpoint=(\S+)`)

// StartGeth starts geth on a directory, which may be empty or hold a database of
// another. It returns when the JSON-RPC answers. Flags are added to those it needs.
func StartGeth(t testing.TB, dataDir string, flags ...string) *Geth {
	t.Helper()
	cmd := exec.Command(require.Geth(t), append([]string{
		"--dev", "--datadir", dataDir, "--db.engine", "pebble",
		"--nodiscover", "--maxpeers", "0", "--port", "0", "--ipcdisable", "--authrpc.port", "0",
		"--http", "--http.addr", "127.0.0.1", "--http.port", "0", "--http.api", "eth,net,web3",
	}, flags...)...)
	address := start(t, cmd, gethListens)
	g := &Geth{
		URL: "http://" + address, DataDir: dataDir, Database: filepath.Join(dataDir, "geth", "chaindata"),
		PID: cmd.Process.Pid, cmd: cmd,
	}
	var accounts []string
	Call(t, g.URL, &accounts, "eth_accounts")
	g.account = accounts[0]
	return g
}

// Mine adds blocks to the chain.
func (g *Geth) Mine(t testing.TB, blocks int) {
	t.Helper()
	for range blocks {
		height := g.Height(t)
		Call(t, g.URL, nil, "eth_sendTransaction", map[string]string{"from": g.account, "to": g.account, "value": "0x1"})
		for deadline := time.Now().Add(startTimeout); g.Height(t) == height; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("geth made no block on %d", height)
			}
		}
	}
}

// Height is the number of the newest block.
func (g *Geth) Height(t testing.TB) int64 {
	t.Helper()
	var hex string
	Call(t, g.URL, &hex, "eth_blockNumber")
	height, err := strconv.ParseInt(hex, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return height
}

// Stop ends geth as an operator does, and returns when it has written all.
func (g *Geth) Stop(t testing.TB) {
	t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Wait(); err != nil {
		t.Fatalf("geth: %v", err)
	}
}
