package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot/chain"
)

// hang returns when the client has gone, which a server notices only after it
// has read the question.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// Whatever a node or what stands in its place does, the answer is a clear error
// in bounded time and memory.
func TestHostile(t *testing.T) {
	say := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { hang(r) }, "no answer within 300ms"},
		{"hangs in the answer", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"jsonrpc"`)
			_ = http.NewResponseController(w).Flush()
			hang(r)
		}, "no answer within 300ms"},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 64<<10)); err != nil {
					return
				}
			}
		}, "longer than 1048576 bytes"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"jsonrpc"`)
		}, "read the answer: unexpected EOF"},
		{"HTML", say(http.StatusOK, "<!doctype html><title>Login</title>"), "not JSON-RPC but HTML"},
		{"HTML of a proxy", say(http.StatusBadGateway, "<html>502</html>"), "not JSON-RPC but HTML, with HTTP status 502"},
		{"text", say(http.StatusForbidden, "Provided Host header is not whitelisted.\n"), `but "Provided Host header is not whitelisted."`},
		{"nothing", say(http.StatusOK, ""), "but nothing"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "HTTP status 307"},
		{"JSON of another kind", say(http.StatusOK, `{"hello": "world"}`), "not JSON-RPC"},
		{"an array", say(http.StatusOK, `[]`), "not JSON-RPC"},
		{"broken JSON", say(http.StatusOK, `{"jsonrpc": "2.0", "id": 1, "result": {`), "not JSON-RPC"},
		{"two answers", say(http.StatusOK, `{"id": 1, "result": {}}{"id": 1, "result": {}}`), "not JSON-RPC"},
		{"deep JSON", say(http.StatusOK, strings.Repeat("[", 1<<19)), "not JSON-RPC"},
		{"another id", say(http.StatusOK, `{"jsonrpc": "2.0", "id": 7000, "result": {}}`), "another question"},
		{"no id", say(http.StatusOK, `{"jsonrpc": "2.0", "result": {}}`), "another question"},
		{"an error", say(http.StatusOK, `{"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "busy\u001b[2J"}}`),
			`the node says "busy?[2J" (code -32000)`},
		{"an error without id", say(http.StatusOK, `{"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "parse"}}`), `"parse" (code -32700)`},
		{"an error with a status", say(http.StatusTooManyRequests, `{"jsonrpc": "2.0", "id": 1, "error": {"code": 429, "message": "slow down"}}`), "slow down"},
		{"null", say(http.StatusOK, `{"jsonrpc": "2.0", "id": 1, "result": null}`), "null"},
		{"another form", say(http.StatusOK, `{"jsonrpc": "2.0", "id": 1, "result": [1]}`), "not of the expected form"},
		{"a huge number", say(http.StatusOK, `{"jsonrpc": "2.0", "id": 1, "result": {"peers": 1e400}}`), "is not a number"},
		{"a number too big", say(http.StatusOK, `{"jsonrpc": "2.0", "id": 1, "result": {"peers": 9007199254740992}}`), "is not a number"},
		{"a number below zero", say(http.StatusOK, `{"jsonrpc": "2.0", "id": 1, "result": {"peers": -1}}`), "is not a number"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(test.answer)
			defer server.Close()
			client := chain.Client{URL: server.URL, Protocol: chain.Substrate, Timeout: 300 * time.Millisecond}
			if test.name == "endless" {
				client.Timeout = time.Minute
			}
			h, err := client.Look(t.Context())
			if err == nil {
				t.Fatalf("%+v", h)
			}
			want := "ask " + server.URL + " for system_health: "
			if !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q, want %q and %q", err, want, test.want)
			}
			if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// Answers that have the right form and are nonsense.
func TestLies(t *testing.T) {
	for _, test := range []struct {
		node    double
		changes double
		want    string
	}{
		{substrateNode, double{"chain_getBlockHash 0": `"0x91b1"`}, "is not the hash of a block"},
		{substrateNode, double{"chain_getBlockHash 0": `"` + strings.Repeat("a", 66) + `"`}, "is not the hash of a block"},
		{substrateNode, double{"chain_getBlockHash 0": `17`}, "not of the expected form"},
		{substrateNode, double{"chain_getHeader": `{"number": "0xffffffffffffffffffff"}`}, "is not a number"},
		{substrateNode, double{"chain_getHeader": `{"number": "0x-1"}`}, "is not a number"},
		{substrateNode, double{"chain_getHeader": `{"number": "many"}`}, "is not a number"},
		{substrateNode, double{"system_syncState": `error {"code": -32000, "message": "not now"}`}, "not now"},
		{evmNode, double{"eth_syncing": `true`}, "not of the expected form"},
		{evmNode, double{"eth_syncing": `{"currentBlock": "all"}`}, "is not a number"},
		{evmNode, double{"eth_getBlockByNumber 0x0": `{"number": "0x0", "hash": null}`}, "is not the hash of a block"},
		{evmNode, double{"eth_getBlockByNumber 0x0": `{"number": "0x0"}`}, "lacks"},
	} {
		client := chain.Client{URL: test.node.with(test.changes).start(t)}
		if h, err := client.Look(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %+v, %v; want %q", test.changes, h, err, test.want)
		}
	}
}

func TestLyingGenesis(t *testing.T) {
	polkadot, err := chain.Lookup("polkadot")
	if err != nil {
		t.Fatal(err)
	}
	client := chain.Client{URL: substrateNode.start(t), Protocol: polkadot.Protocol}
	h, err := client.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Check(chain.Requirements{Genesis: polkadot.Genesis}); !errors.Is(err, chain.ErrWrongNode) {
		t.Error(err)
	}
}

// What is written about a node goes to logs, and into mails.
func TestNoSecretIsShown(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "alice" || password != "secret" {
			t.Errorf("the user was not sent: %q", r.Header)
		}
		_, _ = io.WriteString(w, "<html>")
	}))
	defer html.Close()
	for _, url := range []string{closed.URL, html.URL, "http://127.0.0.1:bad", "http://127.0.0.1:99999999", "http://no such host", "ftp://127.0.0.1"} {
		withUser := strings.Replace(url, "://", "://alice:secret@", 1) + "/v3/apikey?token=key"
		client := chain.Client{URL: withUser}
		_, err := client.Look(t.Context())
		if err == nil {
			t.Errorf("%s answered", url)
			continue
		}
		for _, secret := range []string{"alice", "secret", "apikey", "token"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q shows %q", err, secret)
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	reason := errors.New("the agent is asked to end")
	ctx, cancel := context.WithCancelCause(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel(reason)
		hang(r)
	}))
	defer server.Close()
	client := chain.Client{URL: server.URL}
	if _, err := client.Look(ctx); !errors.Is(err, reason) {
		t.Errorf("%v, want %v", err, reason)
	}
}

func TestUnknownProtocol(t *testing.T) {
	client := chain.Client{URL: "http://127.0.0.1:1", Protocol: "gopher"}
	if _, err := client.Look(t.Context()); err == nil || !strings.Contains(err.Error(), `protocol "gopher"`) {
		t.Error(err)
	}
}

func ExampleClient() {
	ctx := context.Background()
	polkadot, err := chain.Lookup("polkadot")
	if err != nil {
		fmt.Println(err)
		return
	}
	var watch chain.Watch // kept from one time to the next

	client := chain.Client{URL: "http://127.0.0.1:9944", Protocol: polkadot.Protocol}
	health, err := client.Look(ctx)
	if err != nil {
		return // the node does not answer: later
	}
	health.Still = watch.See(health.Block.Number, time.Now())
	err = health.Check(chain.Requirements{Genesis: polkadot.Genesis, Archive: true, MaxLag: 20, Stuck: 15 * time.Minute})
	switch {
	case errors.Is(err, chain.ErrWrongNode): // never
	case errors.Is(err, chain.ErrUnhealthy): // later
	}
}
