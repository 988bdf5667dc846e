package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/snapshot/chain"
)

func TestDatabaseDirectory(t *testing.T) {
	known := &manifest.Manifest{
		Chain:    manifest.Chain{ID: "kusama"},
		Database: manifest.Database{Kind: "paritydb", Directory: "somewhere/else"},
	}
	unknown := &manifest.Manifest{
		Chain:    manifest.Chain{ID: "demo"},
		Database: manifest.Database{Kind: "pebble", Directory: "geth/chaindata"},
	}
	for _, c := range []struct {
		name     string
		manifest *manifest.Manifest
		basePath string
		want     string
	}{
		{"what is known goes before what is said", known, "/base", "/base/chains/ksmcc3/paritydb"},
		{"what is not known is said", unknown, "/base", "/base/geth/chaindata"},
		{"no base path is known", unknown, "", ""},
		{"no database of that kind", &manifest.Manifest{
			Chain: manifest.Chain{ID: "kusama"}, Database: manifest.Database{Kind: "files", Directory: "x"},
		}, "/base", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := databaseDirectory(c.manifest.Chain.ID, c.manifest.Database, c.basePath)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestDefaultBasePath(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	c, err := chain.Lookup("kusama")
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	c.BasePaths = []string{"~/first", other}
	if got, err := defaultBasePath(c); err != nil || got != filepath.Join(home, "first") {
		t.Errorf("with none in use: %q, %v", got, err)
	}
	inUse := func(base string) {
		if err := os.MkdirAll(filepath.Join(base, "chains", "ksmcc3"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	inUse(other)
	if got, err := defaultBasePath(c); err != nil || got != other {
		t.Errorf("with the second in use: %q, %v", got, err)
	}
	inUse(filepath.Join(home, "first"))
	if got, err := defaultBasePath(c); err == nil || !strings.Contains(err.Error(), other) {
		t.Errorf("with both in use: %q, %v", got, err)
	}
}
