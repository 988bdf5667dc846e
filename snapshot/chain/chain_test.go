package chain_test

import (
	"strings"
	"testing"

	"github.com/qsync/qsync/manifest"
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
		for _, kind := range []string{"rocksdb", "paritydb"} {
			dir, ok := c.Directory(kind)
			if err := manifest.CheckPath(dir); err != nil || !ok {
				t.Errorf("%s: directory of %s: %q, %t, %v", id, kind, dir, ok, err)
			}
		}
		if len(c.BasePaths) == 0 {
			t.Errorf("%s has no base path", id)
		}
	}
}

func TestLookup(t *testing.T) {
	kusama, err := chain.Lookup("kusama")
	if err != nil {
		t.Fatal(err)
	}
	if dir, _ := kusama.Directory("paritydb"); dir != "chains/ksmcc3/paritydb" {
		t.Errorf("kusama's ParityDB lies in %q", dir)
	}
	if _, ok := kusama.Directory("pebble"); ok {
		t.Error("kusama has a directory for pebble")
	}
	if _, err := chain.Lookup("ksmcc3"); err == nil || !strings.Contains(err.Error(), "asset-hub-polkadot") {
		t.Errorf("lookup of an unknown chain = %v", err)
	}
}
