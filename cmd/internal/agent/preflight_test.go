package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/snapshot/chain"
)

// substrate answers like a node whose finalized block is 7.
type substrate struct {
	mu      sync.Mutex
	answers map[string]string // method → result
}

func (s *substrate) set(method, result string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[method] = result
}

func (s *substrate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var call struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	result, ok := s.answers[call.Method]
	if !ok {
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, call.ID)
		return
	}
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, call.ID, result)
}

var blockHash = `"0x` + strings.Repeat("ab", 32) + `"`

// TestPreflight publishes from nodes that are well, ill, and wrong.
func TestPreflight(t *testing.T) {
	node := &substrate{answers: map[string]string{
		"system_health":           `{"peers":5,"isSyncing":false,"shouldHavePeers":true}`,
		"system_syncState":        `{"startingBlock":1,"currentBlock":9,"highestBlock":9}`,
		"system_nodeRoles":        `["Full"]`,
		"system_name":             `"Demo Node"`,
		"system_version":          `"1.2.3"`,
		"system_chain":            `"Demo"`,
		"chain_getBlockHash":      blockHash,
		"chain_getFinalizedHead":  blockHash,
		"chain_getHeader":         `{"number":"0x7","parentHash":` + blockHash + `}`,
		"state_getRuntimeVersion": `{"specVersion":1}`,
		"state_getStorage":        `"0x00"`,
	}}
	server := httptest.NewServer(node)
	defer server.Close()
	file := configuration(t, "", "rpc: "+server.URL)
	cfg, err := config.LoadAgent(file)
	must(t, err)
	c := &cfg.Channels[0]
	run := func() (status.Run, error) {
		p := &Publication{Config: cfg, Channel: c, Preflight: NewPreflight(cfg, c)}
		_, err := p.Run(t.Context())
		return p.Record(), err
	}
	health := func() NodeHealth {
		o, err := Look(t.Context(), cfg, AskNode)
		must(t, err)
		return o.Channels[0].Node
	}

	r, err := run()
	if err != nil || r.Outcome != status.Published || r.Height != 7 || r.HeightAfter != 7 || r.Hash != strings.Trim(blockHash, `"`) {
		t.Errorf("%+v, %v", r, err)
	}
	if h := health(); h != (NodeHealth{State: "healthy", Detail: "Demo Node 1.2.3", Height: 7, Peers: 5}) {
		t.Errorf("%+v", h)
	}

	node.set("system_health", `{"peers":0,"isSyncing":true,"shouldHavePeers":true}`)
	if r, err := run(); !errors.Is(err, chain.ErrUnhealthy) || r.Outcome != status.Postponed || !strings.Contains(r.Error, "no peers") {
		t.Errorf("%+v, %v", r, err)
	}
	if h := health(); h.State != "unhealthy" || !strings.Contains(h.Detail, "syncing") {
		t.Errorf("%+v", h)
	}

	node.set("system_health", `{"peers":5,"isSyncing":false,"shouldHavePeers":true}`)
	node.set("system_nodeRoles", `["Authority"]`)
	if r, err := run(); !errors.Is(err, chain.ErrWrongNode) || r.Outcome != status.Failed {
		t.Errorf("%+v, %v", r, err)
	}

	// The same block for longer than is allowed, over several runs of the agent.
	node.set("system_nodeRoles", `["Full"]`)
	i := newInquiry(cfg, c)
	i.watch = chain.Watch{Number: 7, Since: time.Now().Add(-time.Hour)}
	must(t, i.remember())
	if r, err := run(); r.Outcome != status.Postponed {
		t.Errorf("%+v, %v", r, err)
	}
	node.set("chain_getHeader", `{"number":"0x8","parentHash":`+blockHash+`}`)
	if r, err := run(); r.Outcome != status.Published || r.Height != 8 {
		t.Errorf("%+v, %v", r, err)
	}

	server.Close()
	if r, err := run(); err == nil || r.Outcome != status.Postponed {
		t.Errorf("nobody answers: %+v, %v", r, err)
	}
	if runs, err := status.RunsIn(filepath.Join(filepath.Dir(file), "state")).Last(demo, 9); err != nil || len(runs) != 6 {
		t.Errorf("%d runs on record, %v", len(runs), err)
	}
}

// TestSilentNode has a node that takes a question and never answers.
func TestSilentNode(t *testing.T) {
	file := configuration(t, "", "rpc: http://127.0.0.1:1")
	synctest.Test(t, func(t *testing.T) {
		cfg, err := config.LoadAgent(file)
		must(t, err)
		o, err := Look(t.Context(), cfg, func(ctx context.Context, _ *config.Agent, _ *config.Channel) (chain.Health, error) {
			<-ctx.Done()
			return chain.Health{}, ctx.Err()
		})
		must(t, err)
		if n := o.Channels[0].Node; n.State != "unhealthy" || n.Detail != "the node has not answered within 3s" {
			t.Errorf("%+v", n)
		}
	})
}
