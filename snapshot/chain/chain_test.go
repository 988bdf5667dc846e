package chain_test

import (
	"strings"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot/chain"
)

// What the table says must be fit to stand in a manifest, and no two chains alike.
func TestTable(t *testing.T) {
	genesis, spec := make(map[string]string), make(map[string]string)
	for _, id := range chain.IDs() {
		c, err := chain.Lookup(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := manifest.CheckChannel(c.ID); err != nil {
			t.Error(err)
		}
		digits, ok := strings.CutPrefix(c.Genesis, "0x")
		if !ok || len(digits) != 64 || strings.Trim(digits, "0123456789abcdef") != "" {
			t.Errorf("%s: genesis %q", id, c.Genesis)
		}
		if other := genesis[c.Genesis] + spec[c.SpecID]; other != "" {
			t.Errorf("%s is the same chain as %s", id, other)
		}
		genesis[c.Genesis], spec[c.SpecID] = id, id
		if len(c.BasePaths) == 0 {
			t.Errorf("%s has no base path", id)
		}
		if c.Protocol != chain.Substrate && c.Protocol != chain.EVM {
			t.Errorf("%s: protocol %q", id, c.Protocol)
		}
		kinds := 0
		for _, kind := range database.Names() {
			dir, ok := c.Directory(kind)
			if !ok {
				continue
			}
			kinds++
			if err := manifest.CheckPath(dir); err != nil {
				t.Errorf("%s: directory of %s: %v", id, kind, err)
			}
		}
		if kinds == 0 {
			t.Errorf("%s: no database of its nodes is known", id)
		}
	}
}

func TestDirectory(t *testing.T) {
	for _, test := range []struct {
		id, kind, want string
	}{
		{"kusama", "paritydb", "chains/ksmcc3/paritydb"},
		{"asset-hub-polkadot", "rocksdb", "chains/asset-hub-polkadot/db"},
		{"kusama", "pebble", ""},
		{"ethereum", "pebble", "geth/chaindata"},
		{"ethereum", "rocksdb", ""},
	} {
		c, err := chain.Lookup(test.id)
		if err != nil {
			t.Fatal(err)
		}
		if dir, ok := c.Directory(test.kind); ok != (test.want != "") || ok && dir != test.want {
			t.Errorf("a %s database of %s lies in %q, %t; want %q", test.kind, test.id, dir, ok, test.want)
		}
	}
}

func TestMode(t *testing.T) {
	for id, want := range map[string]string{"polkadot": "freeze", "asset-hub-kusama": "freeze", "ethereum": "stop"} {
		c, err := chain.Lookup(id)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Mode(); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	if got := (chain.Chain{}).Mode(); got != "freeze" {
		t.Errorf("a chain that is not known: %s", got)
	}
}

func TestLookup(t *testing.T) {
	if _, err := chain.Lookup("ksmcc3"); err == nil || !strings.Contains(err.Error(), "asset-hub-polkadot") {
		t.Errorf("lookup of an unknown chain = %v", err)
	}
}
