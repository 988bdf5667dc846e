package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// grow writes a database of n more blocks. Whoever calls it closes the node.
func grow(t *testing.T, directory string, n uint64) *node {
	t.Helper()
	node, err := openNode(directory, create)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), node, io.Discard, runOptions{blocks: n}); err != nil {
		t.Fatal(err)
	}
	return node
}

// checkDirectory opens a directory as a node would and checks it.
func checkDirectory(directory string) (head, error) {
	node, err := openNode(directory, existing)
	if err != nil {
		return head{}, err
	}
	return node.head, closeNode(node, node.check())
}

func TestCopyUnderTheOpenDatabaseRecovers(t *testing.T) {
	original, copied := filepath.Join(t.TempDir(), "db"), filepath.Join(t.TempDir(), "copy")
	node := grow(t, original, 300)
	defer node.close()
	// Pebble hands its log to the system a moment after a commit returned.
	if err := node.db.LogData(nil, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	got, err := checkDirectory(copied)
	if err != nil || got != node.head {
		t.Errorf("check of the copy = %+v, %v; want %+v", got, err, node.head)
	}
}

func TestGoesOnWhereItEnded(t *testing.T) {
	directory := t.TempDir()
	if err := grow(t, directory, 5).close(); err != nil {
		t.Fatal(err)
	}
	node := grow(t, directory, 5)
	defer node.close()
	if err := node.mutate(20); err != nil {
		t.Fatal(err)
	}
	if err := node.check(); err != nil || node.head.Height != 10 {
		t.Errorf("check = %v at height %d; want none at 10", err, node.head.Height)
	}
}

func TestCheckNamesTheDefect(t *testing.T) {
	firstRecord := stateKey(newBlock(1, hash{}).state[0].key)
	for _, test := range []struct {
		want   string
		damage func(*pebble.DB) error
	}{
		{"block 3 is missing", func(db *pebble.DB) error { return db.Delete(numberKey(headerPrefix, 3), nil) }},
		{"the chain ends at block 9", func(db *pebble.DB) error { return db.Delete(numberKey(headerPrefix, 10), nil) }},
		{"block 4 does not link", func(db *pebble.DB) error {
			return db.Set(numberKey(headerPrefix, 4), newBlock(4, hash{1}).header(), nil)
		}},
		{"block 5 has another body", func(db *pebble.DB) error {
			return db.Delete(append(numberKey(extrinsicPrefix, 5), 7), nil)
		}},
		{"the state has 159 records of 160", func(db *pebble.DB) error { return db.Delete(firstRecord, nil) }},
		{"a record of the state has another value", func(db *pebble.DB) error {
			return db.Set(firstRecord, []byte("stale"), nil)
		}},
	} {
		node := grow(t, t.TempDir(), 10)
		if err := test.damage(node.db); err != nil {
			t.Fatal(err)
		}
		if err := node.check(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("check = %v; want %q", err, test.want)
		}
		_ = node.close()
	}
}

func TestCheckRefusesADamagedDirectory(t *testing.T) {
	original := t.TempDir()
	node := grow(t, original, 2000)
	if err := node.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := node.close(); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(path string) error{
		"missing":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 100_000) },
		"zeroed": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt(make([]byte, 5), 50_000)
			return err
		},
	} {
		copied := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(copied, os.DirFS(original)); err != nil {
			t.Fatal(err)
		}
		tables, err := filepath.Glob(filepath.Join(copied, "*.sst"))
		if err != nil || len(tables) == 0 {
			t.Fatalf("no tables in %s: %v", copied, err)
		}
		if err := damage(tables[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := checkDirectory(copied); err == nil {
			t.Errorf("check takes a directory whose table is %s", name)
		}
	}
	if _, err := checkDirectory(filepath.Join(t.TempDir(), "nothing")); err == nil {
		t.Error("check takes a directory that is not there")
	}
}
