package database

import "testing"

func TestClass(t *testing.T) {
	for _, test := range []struct {
		kind, path string
		want       Class
	}{
		{"rocksdb", "full/000123.sst", Immutable},
		{"rocksdb", "full/parachains/db/000123.sst", Immutable},
		{"rocksdb", "full/000124.log", Appended},
		{"rocksdb", "full/MANIFEST-000005", Appended},
		{"rocksdb", "full/CURRENT", Replaced},
		{"rocksdb", "full/db_version", Replaced},
		{"rocksdb", "full/parachains/db/parachain_db_version", Replaced},
		{"rocksdb", "full/LOCK", Foreign},
		{"rocksdb", "full/LOG", Foreign},
		{"rocksdb", "full/LOG.old.1700000000", Foreign},
		{"rocksdb", "full/OPTIONS-000007.dbtmp", Foreign},
		{"rocksdb", "full/000123.sst.trash", Foreign},
		{"rocksdb", "full/notes.txt", Foreign},
		{"paritydb", "full/table_00_15", Mutable},
		{"paritydb", "full/index_00_22", Mutable},
		{"paritydb", "full/refcount_01_16", Mutable},
		{"paritydb", "full/log0", Mutable},
		{"paritydb", "full/metadata", Replaced},
		{"paritydb", "full/lock", Foreign},
		{"paritydb", "full/stats.txt", Foreign},
		{"pebble", "000007.log", Mutable},
		{"pebble", "marker.manifest.000001.MANIFEST-000001", Replaced},
		{"pebble", "ancient/chain/bodies.0000.cdat", Mutable},
		{"leveldb", "000007.ldb", Immutable},
		{"leveldb", "000007.log", Appended},
		{"files", "anything at all", Mutable},
	} {
		k, err := Lookup(test.kind)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Class(test.path); got != test.want {
			t.Errorf("%s: %s is of class %d, want %d", test.kind, test.path, got, test.want)
		}
	}
	if _, err := Lookup("oracle"); err == nil {
		t.Error("an unknown kind was found")
	}
}

// A restore writes the entries last, so each kind's must be a published file.
func TestIsEntry(t *testing.T) {
	for kind, p := range map[string]string{
		"rocksdb": "full/CURRENT", "paritydb": "full/metadata", "pebble": "marker.manifest.000001.MANIFEST-000001", "leveldb": "CURRENT",
	} {
		k, err := Lookup(kind)
		if err != nil {
			t.Fatal(err)
		}
		if !k.HasEntries() || !k.IsEntry(p) || k.Class(p) == Foreign {
			t.Errorf("%s: %s is not an entry that is published", kind, p)
		}
		if k.IsEntry("full/000001.sst") {
			t.Errorf("%s: a table is an entry", kind)
		}
	}
}

func TestSecret(t *testing.T) {
	for _, p := range []string{
		"keystore/x", "chains/polkadot/KeyStore/x", "network/x", "full/secret_ed25519", "NODEKEY", "jwt.hex", "geth/jwtsecret",
		"keystore2/UTC--2024-01-01T00-00-00.000Z--00", "a/server.PEM", "wallet.dat",
		"6772616e" + "d17c2d7823ebf260fd138f2d7e27d114c0145d968b5ff5006125f2414fadae69",
	} {
		if Secret(p) == "" {
			t.Errorf("%s passes for no secret", p)
		}
	}
	for _, p := range []string{"full/000123.sst", "full/CURRENT", "full/networks.sst", "full/table_00_15", "full/parachains/db/MANIFEST-000005"} {
		if why := Secret(p); why != "" {
			t.Errorf("%s passes for a secret: %s", p, why)
		}
	}
}

func TestDetect(t *testing.T) {
	for _, test := range []struct {
		paths []string
		want  string // empty: none
	}{
		{[]string{"full/CURRENT", "full/MANIFEST-000005", "full/000001.sst", "full/OPTIONS-000007", "full/LOG"}, "rocksdb"},
		{[]string{"full/metadata", "full/table_00_0", "full/index_00_16", "full/parachains/metadata"}, "paritydb"},
		{[]string{"chaindata/CURRENT", "chaindata/MANIFEST-000001", "chaindata/000005.sst", "chaindata/marker.manifest.000001.MANIFEST-000001"}, "pebble"},
		{[]string{"CURRENT", "MANIFEST-000001", "000005.ldb", "000003.log"}, "leveldb"},
		{[]string{"full/000001.sst", "full/MANIFEST-000005"}, ""}, // no entry
		{[]string{"letters.txt"}, ""},
		{nil, ""},
	} {
		k, err := Detect(test.paths)
		if (err == nil) != (test.want != "") || err == nil && k.Name != test.want {
			t.Errorf("%q: %v, %v; want %q", test.paths, k, err, test.want)
		}
	}
}
