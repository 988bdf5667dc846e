package chaintest

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/qsync/qsync/scripts/require"
)

// Chopsticks is a Substrate JSON-RPC over a chain with a real runtime. Its blocks
// are in memory only, and all of them are final.
type Chopsticks struct {
	URL string
}

// ChopsticksGenesis is the hash of block 0 of each of its chains.
const ChopsticksGenesis = "0x4545454545454545454545454545454545454545454545454545454545454545"

var chopsticksListens = regexp.MustCompile(`listening on (http://\S+)`)

// StartChopsticks starts it at block 1.
func StartChopsticks(t testing.TB) *Chopsticks {
	t.Helper()
	dir := require.Chopsticks(t)
	cmd := exec.Command(require.Tool(t, "node"),
		filepath.Join(dir, "node_modules", "@acala-network", "chopsticks", "chopsticks.cjs"),
		"--chain-spec", filepath.Join(dir, "chain.json"), "--host", "127.0.0.1", "--port", "0")
	cmd.Dir = t.TempDir() // it reads .env of its directory
	return &Chopsticks{URL: start(t, cmd, chopsticksListens)}
}

// Mine adds blocks to the chain.
func (c *Chopsticks) Mine(t testing.TB, blocks int) {
	t.Helper()
	Call(t, c.URL, nil, "dev_newBlock", map[string]int{"count": blocks})
}
