// Package chaintest starts real nodes that speak JSON-RPC, for tests.
//
//	node := chaintest.StartGeth(t, t.TempDir())
//	node.Mine(t, 3)
//	client := chain.Client{URL: node.URL}
//
// All of them work without a network, listen on a free port of 127.0.0.1, and end
// with the test.
package chaintest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A busy machine takes many times the second or three that the nodes need.
const startTimeout = 2 * time.Minute

// start runs a program until it prints a line that matches, and returns what the
// pattern's group matched. The program is killed when the test ends.
func start(t testing.TB, cmd *exec.Cmd, pattern *regexp.Regexp) string {
	t.Helper()
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended, and been waited for
		_ = cmd.Wait()
	})
	found, ended := make(chan string, 1), make(chan string, 1)
	go func() {
		var said strings.Builder
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			if m := pattern.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
				break
			}
			said.WriteString(lines.Text() + "\n")
		}
		_, _ = io.Copy(io.Discard, output) // or it would stand still with a full pipe
		ended <- said.String()
	}()
	select {
	case s := <-found:
		return s
	case said := <-ended:
		t.Fatalf("%s ended before it listened:\n%s", cmd, said)
	case <-time.After(startTimeout):
		t.Fatalf("%s does not listen after %s", cmd, startTimeout)
	}
	return ""
}

// Call asks a node, decodes the answer into result, which may be nil, and fails
// the test if the node refuses.
func Call(t testing.TB, url string, result any, method string, params ...any) {
	t.Helper()
	if params == nil {
		params = []any{}
	}
	question, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url, "application/json", bytes.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error != nil {
		t.Fatalf("%s %s: %v %s", method, params, err, answer.Error)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
}
