package main

import (
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/snapshot/chain"
	"github.com/qsync/qsync/snapshot/chain/chaintest"
)

// TestCheckNode compares real nodes with others, which are ways to the same node and
// servers that say something else.
func TestCheckNode(t *testing.T) {
	t.Run("chopsticks", func(t *testing.T) {
		node := chaintest.StartChopsticks(t)
		node.Mine(t, 2)
		testCheckNode(t, node.URL)
	})
	t.Run("geth", func(t *testing.T) {
		node := chaintest.StartGeth(t, t.TempDir())
		_, _, err := run(t, "check-node", node.URL, "--check-rpc", throughProxy(t, node.URL))
		if term.ExitCode(err) != term.ExitNoSource || !strings.Contains(term.Hint(err), "base path") {
			t.Errorf("a node that has but its genesis: %v", err)
		}
		client := chain.Client{URL: node.URL}
		for final := int64(0); final == 0; {
			node.Mine(t, 16)
			block, err := client.Block(t.Context())
			check(t, err)
			if block.Finalized {
				final = block.Number
			}
		}
		testCheckNode(t, node.URL)
	})
}

func testCheckNode(t *testing.T, node string) {
	client := chain.Client{URL: node}
	genesis, err := client.Genesis(t.Context())
	check(t, err)
	other, wrong := "0x"+strings.Repeat("0c", 32), "0x"+strings.Repeat("0d", 32)
	var asked atomic.Int64
	same := throughProxy(t, node)
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"the same":          {[]string{node, "--check-rpc", same}, term.ExitOK, "confirmed: " + same},
		"another hash":      {[]string{node, "--check-rpc", same, "--check-rpc", witness(t, genesis, other, &asked)}, term.ExitUntrusted, "says that block"},
		"another chain":     {[]string{node, "--check-rpc", witness(t, wrong, other, &asked)}, term.ExitUntrusted, "its genesis is " + wrong},
		"nobody there":      {[]string{node, "--check-rpc", "http://127.0.0.1:1/hunter2"}, term.ExitNoSource, "does not answer"},
		"node not there":    {[]string{"http://127.0.0.1:1/hunter2", "--check-rpc", same}, term.ExitError, "start the node"},
		"none to ask":       {[]string{node}, term.ExitUsage, ""},
		"the same node":     {[]string{node, "--check-rpc", node}, term.ExitUsage, "with itself"},
		"no URL":            {[]string{"ws://hunter2", "--check-rpc", same}, term.ExitUsage, ""},
		"no URL to compare": {[]string{node, "--check-rpc", "ws://hunter2"}, term.ExitUsage, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr, err := run(t, append([]string{"check-node"}, test.args...)...)
			says := stderr
			if err != nil {
				says += err.Error() + term.Hint(err)
			}
			if term.ExitCode(err) != test.code || !strings.Contains(says, test.says) || strings.Contains(says, "hunter2") {
				t.Errorf("exit code %d, %s; want %d, %q", term.ExitCode(err), says, test.code, test.says)
			}
		})
	}
}

// throughProxy is another URL of a node.
func throughProxy(t *testing.T, node string) string {
	t.Helper()
	u, err := url.Parse(node)
	check(t, err)
	server := httptest.NewServer(httputil.NewSingleHostReverseProxy(u))
	t.Cleanup(server.Close)
	return server.URL
}
