package chain_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/snapshot/chain"
	"github.com/qsync/qsync/snapshot/chain/chaintest"
)

// An old block that both doubles know, beside the ones that they know already.
const (
	oldNumber = 900
	oldHash   = "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
)

var (
	substrateWitness = substrateNode.with(double{"chain_getBlockHash": `null`, "chain_getBlockHash 900": `"` + oldHash + `"`})
	evmWitness       = evmNode.with(double{"eth_getBlockByNumber": `null`, "eth_getBlockByNumber 0x384": `{"number": "0x384", "hash": "` + oldHash + `"}`})
)

func nodes(urls ...string) (all []*chain.Client) {
	for _, url := range urls {
		all = append(all, &chain.Client{URL: url, Timeout: time.Second})
	}
	return all
}

func TestConfirm(t *testing.T) {
	claim := chain.Claim{Genesis: genesisA, Block: manifest.Block{Number: oldNumber, Hash: oldHash}}
	numberOnly := chain.Claim{Genesis: genesisA, Block: manifest.Block{Number: oldNumber}}
	fresh := claim
	fresh.Fresh = true
	lagging := double{"chain_getHeader " + finalizedHash: `{"number": "0x383"}`} // 899
	for _, test := range []struct {
		name    string
		witness double
		changes double
		claim   chain.Claim
		vote    chain.Vote
		says    string
	}{
		{"the same", substrateWitness, nil, claim, chain.For, "says that block 900 is " + oldHash},
		{"the same, EVM", evmWitness, nil, claim, chain.For, "says that block 900 is " + oldHash},
		{"upper case", substrateWitness, double{"chain_getBlockHash 900": `"0x` + strings.ToUpper(oldHash[2:]) + `"`}, claim, chain.For, oldHash},
		{"another hash", substrateWitness, double{"chain_getBlockHash 900": `"` + firstHash + `"`}, claim, chain.Against, "says that block 900 is " + firstHash + ", not " + oldHash},
		{"another hash, EVM", evmWitness, double{"eth_getBlockByNumber 0x384": `{"number": "0x384", "hash": "` + firstHash + `"}`}, claim, chain.Against, firstHash},
		{"another chain", substrateWitness, double{"chain_getBlockHash 0": `"` + genesisB + `"`}, claim, chain.Against, "is on another chain: its genesis is " + genesisB},
		{"another chain, EVM", evmWitness, double{"eth_getBlockByNumber 0x0": `{"number": "0x0", "hash": "` + genesisB + `"}`}, claim, chain.Against, genesisB},
		{"genesis is not said", substrateWitness, double{"chain_getBlockHash 0": `"` + genesisB + `"`}, chain.Claim{Block: claim.Block}, chain.For, oldHash},
		{"not final", substrateWitness, lagging, claim, chain.Against, "has not finalized block 900"},
		{"final to the very block", substrateWitness, double{"chain_getHeader " + finalizedHash: `{"number": "0x384"}`}, claim, chain.For, oldHash},
		{"not final, EVM", evmWitness, double{"eth_getBlockByNumber finalized": `{"number": "0x383", "hash": "` + finalizedHash + `"}`}, claim, chain.Against, "has not finalized"},
		{"nothing is final, EVM", evmWitness, double{"eth_getBlockByNumber finalized": `null`}, claim, chain.Against, "has not finalized"},
		{"another hash that is not final", substrateWitness, lagging.with(double{"chain_getBlockHash 900": `"` + firstHash + `"`}), claim, chain.Against, firstHash},
		{"not final, fresh", substrateWitness, lagging, fresh, chain.None, "has not finalized block 900 yet"},
		{"another hash that is not final, fresh", substrateWitness, lagging.with(double{"chain_getBlockHash 900": `"` + firstHash + `"`}), fresh, chain.None, "yet"},
		{"another hash, fresh", substrateWitness, double{"chain_getBlockHash 900": `"` + firstHash + `"`}, fresh, chain.Against, firstHash},
		{"has not got it", substrateWitness, double{"chain_getBlockHash 900": `null`}, claim, chain.None, "has not got block 900"},
		{"has not got it, EVM", evmWitness, double{"eth_getBlockByNumber 0x384": `null`}, claim, chain.None, "has not got block 900"},
		{"has pruned it", evmWitness, double{"eth_getBlockByNumber 0x384": `error {"code": 4444, "message": "pruned history unavailable"}`}, claim, chain.None, "pruned history"},
		{"answers with another block", evmWitness, double{"eth_getBlockByNumber 0x384": `{"number": "0x385", "hash": "` + oldHash + `"}`}, claim, chain.None, "answers with block 901"},
		{"does not say its genesis", substrateWitness, double{"chain_getBlockHash 0": `error {"code": -32000, "message": "slow down"}`}, claim, chain.None, "slow down"},
		{"does not say what is final", substrateWitness, double{"chain_getFinalizedHead": `error {"code": -32000, "message": "slow down"}`}, claim, chain.None, "slow down"},
		{"a number is final", substrateWitness, nil, numberOnly, chain.For, "is final up to block 998"},
		{"a number is not final", substrateWitness, lagging, numberOnly, chain.None, "is final up to block 899 only"},
		{"a number of another chain", substrateWitness, double{"chain_getBlockHash 0": `"` + genesisB + `"`}, numberOnly, chain.Against, genesisB},
		{"a genesis alone", substrateWitness, nil, chain.Claim{Genesis: genesisA, Block: manifest.Block{Number: -1}}, chain.For, "is final"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answers, err := chain.Confirm(t.Context(), nodes(test.witness.with(test.changes).start(t)), test.claim)
			if a := answers[0]; a.Vote != test.vote || !strings.Contains(a.Says, test.says) {
				t.Errorf("%+v; want vote %d and %q", a, test.vote, test.says)
			}
			want := map[chain.Vote]error{chain.None: chain.ErrUnconfirmed, chain.Against: chain.ErrContradicted}[test.vote]
			if !errors.Is(err, want) {
				t.Errorf("error is %v, want %v", err, want)
			}
			if err != nil && !strings.Contains(err.Error(), answers[0].Node+" "+answers[0].Says) {
				t.Errorf("%v does not say who says what", err)
			}
		})
	}
}

// One that contradicts is enough; one that has no vote takes none from the others.
func TestConfirmBySeveral(t *testing.T) {
	claim := chain.Claim{Genesis: genesisA, Block: manifest.Block{Number: oldNumber, Hash: oldHash}}
	yes := substrateWitness.start(t)
	no := substrateWitness.with(double{"chain_getBlockHash 900": `"` + firstHash + `"`}).start(t)
	none := substrateWitness.with(double{"chain_getBlockHash 900": `null`}).start(t)
	silent := "http://127.0.0.1:1"
	for name, test := range map[string]struct {
		urls []string
		want error
	}{
		"one":                     {[]string{yes}, nil},
		"one of three":            {[]string{none, yes, silent}, nil},
		"two against one":         {[]string{yes, no, yes}, chain.ErrContradicted},
		"one against, and nobody": {[]string{silent, no}, chain.ErrContradicted},
		"nobody":                  {[]string{none, silent}, chain.ErrUnconfirmed},
		"none is asked":           {nil, chain.ErrUnconfirmed},
	} {
		answers, err := chain.Confirm(t.Context(), nodes(test.urls...), claim)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: error is %v, want %v", name, err, test.want)
		}
		for i, a := range answers {
			if a.Node != test.urls[i] {
				t.Errorf("%s: answer %d is that of %s", name, i, a.Node)
			}
		}
	}
}

// A node that hangs is no vote, and hosted nodes have a key in their URL.
func TestConfirmIsBoundedAndDiscreet(t *testing.T) {
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hang(r) }))
	defer hanging.Close()
	claim := chain.Claim{Genesis: genesisA, Block: manifest.Block{Number: oldNumber, Hash: oldHash}}
	all := nodes(strings.Replace(hanging.URL, "://", "://alice:hunter2@", 1)+"/v3/hunter2?key=hunter2", "http://127.0.0.1:1/hunter2", "http://[hunter2")
	all[0].Timeout = 50 * time.Millisecond
	answers, err := chain.Confirm(t.Context(), all, claim)
	if !errors.Is(err, chain.ErrUnconfirmed) || !strings.Contains(err.Error(), "no answer within") || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	for _, a := range answers {
		if strings.Contains(a.Node+a.Says, "hunter2") {
			t.Errorf("%+v", a)
		}
	}
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	if _, err := chain.Confirm(ctx, all, claim); !errors.Is(err, reason) {
		t.Error(err)
	}
}

func TestConfirmByChopsticks(t *testing.T) {
	node := chaintest.StartChopsticks(t)
	node.Mine(t, 3)
	client := &chain.Client{URL: node.URL}
	block, err := client.Block(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	node.Mine(t, 2)
	testWitness(t, client, chaintest.ChopsticksGenesis, block)
}

func TestConfirmByGeth(t *testing.T) {
	node := chaintest.StartGeth(t, t.TempDir())
	client := &chain.Client{URL: node.URL}
	// A block is final here when the epoch after it is over.
	var block manifest.Block
	for !block.Finalized || block.Number == 0 {
		node.Mine(t, 16)
		var err error
		if block, err = client.Block(t.Context()); err != nil {
			t.Fatal(err)
		}
		if node.Height(t) > 400 {
			t.Fatalf("nothing is final at block %d: %+v", node.Height(t), block)
		}
	}
	genesis, err := client.Genesis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	testWitness(t, client, genesis, block)

	node.Mine(t, 1) // the last block of an epoch is final at once
	newest := chain.Claim{Genesis: genesis, Block: manifest.Block{Number: node.Height(t), Hash: block.Hash}}
	if _, err := chain.Confirm(t.Context(), []*chain.Client{client}, newest); !errors.Is(err, chain.ErrContradicted) {
		t.Errorf("a block that is not final: %v", err)
	}
}

// testWitness asks a real node about its own block, and about what is not so.
func testWitness(t *testing.T, node *chain.Client, genesis string, block manifest.Block) {
	t.Helper()
	for name, test := range map[string]struct {
		claim chain.Claim
		want  error
	}{
		"true":            {chain.Claim{Genesis: genesis, Block: block}, nil},
		"another hash":    {chain.Claim{Genesis: genesis, Block: manifest.Block{Number: block.Number, Hash: firstHash}}, chain.ErrContradicted},
		"another genesis": {chain.Claim{Genesis: genesisB, Block: block}, chain.ErrContradicted},
		"not yet there":   {chain.Claim{Genesis: genesis, Block: manifest.Block{Number: block.Number + 10_000, Hash: block.Hash}}, chain.ErrUnconfirmed},
		"a number":        {chain.Claim{Genesis: genesis, Block: manifest.Block{Number: block.Number}}, nil},
	} {
		if answers, err := chain.Confirm(t.Context(), []*chain.Client{node}, test.claim); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v: %+v", name, err, test.want, answers)
		}
	}
}
