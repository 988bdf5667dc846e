package chain_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/snapshot/chain"
)

const (
	genesisA = "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	genesisB = "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestCheck(t *testing.T) {
	want := chain.Requirements{Genesis: genesisA, Archive: true, MaxLag: 20, MinHeight: 500, Stuck: 15 * time.Minute}
	for _, test := range []struct {
		name             string
		change           func(*chain.Health, *chain.Requirements)
		wrong, unhealthy string // a part of the only reason
	}{
		{"well", func(*chain.Health, *chain.Requirements) {}, "", ""},
		{"another genesis", func(h *chain.Health, _ *chain.Requirements) { h.Genesis = genesisB }, `another chain ("Test")`, ""},
		{"any genesis", func(_ *chain.Health, w *chain.Requirements) { w.Genesis = "" }, "", ""},
		{"a validator", func(h *chain.Health, _ *chain.Requirements) { h.Validator = true }, "validator", ""},
		{"an allowed validator", func(h *chain.Health, w *chain.Requirements) { h.Validator, w.AllowValidator = true, true }, "", ""},
		{"pruned", func(h *chain.Health, _ *chain.Requirements) { h.Pruned = "discarded" }, "not an archive: asked for the state of block 1, discarded", ""},
		{"pruned, as it may be", func(h *chain.Health, w *chain.Requirements) { h.Pruned, w.Archive = "discarded", false }, "", ""},
		{"syncing", func(h *chain.Health, _ *chain.Requirements) { h.Syncing = true }, "", "syncing, at block 1000 of 1003"},
		{"no peers", func(h *chain.Health, _ *chain.Requirements) { h.Peers = 0 }, "", "no peers"},
		{"no peers, as it may be", func(h *chain.Health, _ *chain.Requirements) { h.Peers, h.Alone = 0, true }, "", ""},
		{"as far behind as it may be", func(h *chain.Health, _ *chain.Requirements) { h.Highest = 1020 }, "", ""},
		{"behind", func(h *chain.Health, _ *chain.Requirements) { h.Highest = 1021 }, "", "21 blocks behind"},
		{"behind by any number", func(h *chain.Health, w *chain.Requirements) { h.Highest, w.MaxLag = 9999, 0 }, "", ""},
		{"highest not known", func(h *chain.Health, _ *chain.Requirements) { h.Highest = 0 }, "", ""},
		{"as low as it may be", func(h *chain.Health, _ *chain.Requirements) { h.Block.Number = 500 }, "", ""},
		{"low", func(h *chain.Health, _ *chain.Requirements) { h.Block.Number = 499 }, "", "block 499 is below"},
		{"still for as long as it may be", func(h *chain.Health, _ *chain.Requirements) { h.Still = 15 * time.Minute }, "", ""},
		{"stuck", func(h *chain.Health, _ *chain.Requirements) { h.Still = 16 * time.Minute }, "", "newest finalized one for 16m"},
		{"stuck for any time", func(h *chain.Health, w *chain.Requirements) { h.Still, w.Stuck = time.Hour, 0 }, "", ""},
		{"old", func(h *chain.Health, _ *chain.Requirements) { h.BestAge = 3 * time.Hour }, "", "is 3h0m0s old"},
		{"old, as it may be", func(h *chain.Health, _ *chain.Requirements) { h.BestAge, h.Alone = 3*time.Hour, true }, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := chain.Health{
				Chain: "Test", Genesis: genesisA, Peers: 12, Best: 1000, BestAge: 6 * time.Second, Highest: 1003,
				Block: manifest.Block{Number: 998, Hash: genesisB, Finalized: true},
			}
			want := want
			test.change(&h, &want)
			err := h.Check(want)
			if errors.Is(err, chain.ErrWrongNode) != (test.wrong != "") || errors.Is(err, chain.ErrUnhealthy) != (test.unhealthy != "") {
				t.Fatalf("%v; wrong: %q, unhealthy: %q", err, test.wrong, test.unhealthy)
			}
			if reason := test.wrong + test.unhealthy; reason != "" && !strings.Contains(err.Error(), reason) {
				t.Errorf("%q does not say %q", err, reason)
			}
		})
	}
}

// An operator must not have to find the reasons one by one.
func TestCheckSaysEveryReason(t *testing.T) {
	h := chain.Health{Chain: "Test", Genesis: genesisB, Validator: true, Pruned: "discarded", Syncing: true, Best: 10, Highest: 90}
	err := h.Check(chain.Requirements{Genesis: genesisA, Archive: true, MaxLag: 20, MinHeight: 5, Stuck: time.Minute})
	var p *chain.PreflightError
	if !errors.As(err, &p) {
		t.Fatalf("%T: %v", err, err)
	}
	if len(p.Wrong) != 3 || len(p.Unhealthy) != 4 || !errors.Is(err, chain.ErrWrongNode) || !errors.Is(err, chain.ErrUnhealthy) {
		t.Errorf("%d and %d reasons: %v", len(p.Wrong), len(p.Unhealthy), err)
	}
	for _, reason := range append(p.Wrong, p.Unhealthy...) {
		if !strings.Contains(err.Error(), reason) {
			t.Errorf("%q does not say %q", err, reason)
		}
	}
	if !strings.Contains(p.Hint(), "rpc") {
		t.Errorf("hint %q", p.Hint())
	}
}
