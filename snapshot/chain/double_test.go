package chain_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
)

// double answers as a node in a state that no real one can be brought into here.
// Its keys are methods, with the first parameter behind a space where that matters; the
// values are what stands for the result, or an error object.
type double map[string]string

// with is the double with some answers changed. An empty one removes the method.
func (d double) with(changes double) double {
	changed := maps.Clone(d)
	for method, answer := range changes {
		changed[method] = answer
		if answer == "" {
			delete(changed, method)
		}
	}
	return changed
}

func (d double) start(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var question struct {
			ID     int64  `json:"id"`
			Method string `json:"method"`
			Params []any  `json:"params"`
		}
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
			t.Error(err)
		}
		answer, ok := d[question.Method]
		if len(question.Params) > 0 {
			if special, is := d[fmt.Sprint(question.Method, " ", question.Params[0])]; is {
				answer, ok = special, true
			}
		}
		if !ok {
			answer = `error {"code": -32601, "message": "Method not found"}`
		}
		key := "result"
		if object, is := cutError(answer); is {
			key, answer = "error", object
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc": "2.0", "id": %d, %q: %s}`, question.ID, key, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func cutError(answer string) (string, bool) {
	const mark = "error "
	if len(answer) < len(mark) || answer[:len(mark)] != mark {
		return "", false
	}
	return answer[len(mark):], true
}

const (
	finalizedHash = "0xcccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
	firstHash     = "0xdddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
)

// A Substrate node that is well, as polkadot-sdk spells it.
var substrateNode = double{
	"system_health":                    `{"peers": 40, "isSyncing": false, "shouldHavePeers": true}`,
	"system_nodeRoles":                 `["Full"]`,
	"system_name":                      `"Parity Polkadot"`,
	"system_version":                   `"1.20.0-c2a39c7c3fd"`,
	"system_chain":                     `"Polkadot"`,
	"system_syncState":                 `{"startingBlock": 5, "currentBlock": 1000, "highestBlock": 1003}`,
	"chain_getBlockHash 0":             `"` + genesisA + `"`,
	"chain_getBlockHash 1":             `"` + firstHash + `"`,
	"chain_getFinalizedHead":           `"` + finalizedHash + `"`,
	"chain_getHeader":                  `{"number": "0x3e8"}`,
	"chain_getHeader " + finalizedHash: `{"number": "0x3e6"}`,
	"state_getRuntimeVersion":          `{"specName": "polkadot", "specVersion": 1006002}`,
}

// A geth that is well, on a public chain.
var evmNode = double{
	"eth_syncing":                    `false`,
	"net_peerCount":                  `"0x32"`,
	"eth_chainId":                    `"0x1"`,
	"web3_clientVersion":             `"Geth/v1.17.5-stable/linux-amd64/go1.26.8"`,
	"eth_getBlockByNumber 0x0":       `{"number": "0x0", "hash": "` + genesisA + `", "timestamp": "0x0"}`,
	"eth_getBlockByNumber finalized": `{"number": "0x3a0", "hash": "` + finalizedHash + `", "timestamp": "0x6553f100"}`,
	"eth_getBlockByNumber safe":      `{"number": "0x3c0", "hash": "` + firstHash + `", "timestamp": "0x6553f100"}`,
	"eth_getBlockByNumber latest":    `{"number": "0x3e8", "hash": "` + firstHash + `", "timestamp": "0x6553f100"}`,
	"eth_getBalance":                 `"0x31ca53b6a0e4f5a6fd2e1"`,
}
