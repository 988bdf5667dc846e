package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/snapshot/chain"
	"github.com/qsync/qsync/snapshot/chain/chaintest"
)

// run runs a command line as a user does, and returns what it printed.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	root := command()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentFlags().Bool("json", false, "")
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

// published is a tree with one snapshot of chain demo.
type published struct{ base, verifier string }

func publishBlock(t *testing.T, genesis string, block *manifest.Block) published {
	t.Helper()
	secret, verifier, err := trust.GenerateKey("snapshots.example.org")
	check(t, err)
	p := published{t.TempDir(), verifier}
	publishManifest(t, p.base, secret, verifier, &manifest.Manifest{
		Channel:  "demo-files",
		Version:  time.Now().UTC().Format(manifest.VersionFormat),
		Chain:    manifest.Chain{ID: "demo", Genesis: genesis},
		Block:    block,
		Database: manifest.Database{Kind: "files"},
	})
	return p
}

// fetch is a command line that restores it.
func (p published) fetch(target string, more ...string) []string {
	return append([]string{"fetch", "demo", "--from", p.base, "--trust", p.verifier, "--to", target}, more...)
}

// TestCheckRPC asks a real node about the block of a manifest, before a fetch and
// before a comparison.
func TestCheckRPC(t *testing.T) {
	node := chaintest.StartChopsticks(t)
	node.Mine(t, 2)
	client := chain.Client{URL: node.URL}
	block, err := client.Block(t.Context())
	check(t, err)
	node.Mine(t, 1)
	another := block
	another.Hash = "0x" + strings.Repeat("ab", 32)
	newer := block
	newer.Number += 1000

	for name, test := range map[string]struct {
		genesis string
		block   *manifest.Block
		code    int
		says    string
	}{
		"the same":        {chaintest.ChopsticksGenesis, &block, term.ExitOK, fmt.Sprintf("confirmed: %s says that block %d is %s", node.URL, block.Number, block.Hash)},
		"another hash":    {chaintest.ChopsticksGenesis, &another, term.ExitUntrusted, fmt.Sprintf("%s says that block %d is %s, not %s", node.URL, block.Number, block.Hash, another.Hash)},
		"another genesis": {"0x" + strings.Repeat("ab", 32), &block, term.ExitUntrusted, "its genesis is " + chaintest.ChopsticksGenesis},
		"no genesis":      {"", &block, term.ExitOK, "confirmed"},
		"no block":        {chaintest.ChopsticksGenesis, nil, term.ExitUntrusted, "names no block"},
		"not there yet":   {chaintest.ChopsticksGenesis, &newer, term.ExitNoSource, "has not got block"},
	} {
		t.Run(name, func(t *testing.T) {
			p := publishBlock(t, test.genesis, test.block)
			target := filepath.Join(t.TempDir(), "db")
			for _, dryRun := range []bool{true, false} {
				args := p.fetch(target, "--check-rpc", node.URL)
				if dryRun {
					args = append(args, "--dry-run")
				}
				_, stderr, err := run(t, args...)
				says := stderr
				if err != nil {
					says = err.Error()
				}
				if code := term.ExitCode(err); code != test.code || !strings.Contains(says, test.says) {
					t.Errorf("dry run %t: exit code %d, %v, want %d: %s", dryRun, code, err, test.code, stderr)
				}
				if err != nil && term.Hint(err) == "" {
					t.Errorf("no hint to %v", err)
				}
				if _, err := os.Stat(target); (err == nil) != (test.code == 0 && !dryRun) {
					t.Errorf("dry run %t: target: %v", dryRun, err)
				}
			}
			if test.code == 0 {
				stdout, _, err := run(t, "verify", target, "demo", "--from", p.base, "--trust", p.verifier, "--json", "--check-rpc", node.URL)
				if err != nil || !strings.Contains(stdout, `{"event":"checked","block":`+fmt.Sprint(block.Number)+`,"hash":"`+block.Hash+`","confirmed_by":[{"node":"`+node.URL+`","says":"`) {
					t.Errorf("verify: %v: %s", err, stdout)
				}
			}
		})
	}
}

// witness is a server that says of every height above 0 that its block has a hash.
func witness(t *testing.T, genesis, hash string, asked *atomic.Int64) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var q struct {
			ID     int64  `json:"id"`
			Method string `json:"method"`
			Params []any  `json:"params"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		answer := `"` + hash + `"`
		switch {
		case q.Method == "system_health":
			answer = `{}`
		case q.Method == "chain_getHeader":
			answer = `{"number": "0xffff"}`
		case q.Method == "chain_getBlockHash" && q.Params[0] == 0.0:
			answer = `"` + genesis + `"`
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc": "2.0", "id": %d, "result": %s}`, q.ID, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestCheckRPCOptions(t *testing.T) {
	genesis, hash, other := "0x"+strings.Repeat("0a", 32), "0x"+strings.Repeat("0b", 32), "0x"+strings.Repeat("0c", 32)
	p := publishBlock(t, genesis, &manifest.Block{Number: 7, Hash: hash, Finalized: true})
	var yesAsked, noAsked atomic.Int64
	yes, no := witness(t, genesis, hash, &yesAsked), witness(t, genesis, other, &noAsked)
	config := filepath.Join(t.TempDir(), "config.yaml")
	write := func(url string) {
		check(t, os.WriteFile(config, fmt.Appendf(nil, "publishers:\n  - name: a\n    url: file://%s\n    trust: %s\n    check_rpc: [%q]\n", p.base, p.verifier, url), 0o644))
	}
	const key = "/v3/hunter2?token=hunter2"
	for _, test := range []struct {
		name, configured string
		urls             []string
		code             int
		asked            int64 // the node that says yes: calls
	}{
		{"once", "", []string{yes + key}, term.ExitOK, 5},
		{"the same host twice", "", []string{yes + key, yes + "/another", strings.ToUpper(yes[:4]) + yes[4:]}, term.ExitOK, 5},
		{"one that contradicts", "", []string{yes + key, no + key}, term.ExitUntrusted, 5},
		{"configured", yes + key, nil, term.ExitOK, 5},
		{"configured and asked for", no, []string{yes + key}, term.ExitUntrusted, 5},
		{"nobody there", "", []string{"http://127.0.0.1:1" + key}, term.ExitNoSource, 0},
		{"websocket", "", []string{"wss://rpc.example.org" + key}, term.ExitUsage, 0},
		{"no URL", "", []string{"http://[hunter2"}, term.ExitUsage, 0},
		{"configured, no URL", "ws://hunter2", nil, term.ExitError, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			yesAsked.Store(0)
			args := p.fetch(filepath.Join(t.TempDir(), "db"))
			if test.configured != "" {
				write(test.configured)
				args = []string{"fetch", "demo", "--config", config, "--to", filepath.Join(t.TempDir(), "db")}
			}
			for _, u := range test.urls {
				args = append(args, "--check-rpc", u)
			}
			stdout, stderr, err := run(t, args...)
			if code := term.ExitCode(err); code != test.code || yesAsked.Load() != test.asked {
				t.Errorf("exit code %d, %d calls; want %d, %d: %v", code, yesAsked.Load(), test.code, test.asked, err)
			}
			if all := fmt.Sprint(stdout, stderr, err, term.Hint(err)); strings.Contains(all, "hunter2") {
				t.Errorf("a key is shown: %s", all)
			}
		})
	}
	// From the configuration also where the flags say another place.
	write(no)
	_, _, err := run(t, "fetch", "demo", "--config", config, "--from", p.base, "--to", filepath.Join(t.TempDir(), "db"))
	if term.ExitCode(err) != term.ExitUntrusted {
		t.Errorf("--from with a configured publisher: %v", err)
	}
}
