package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot/node"
	"github.com/qsync/qsync/snapshot/node/nodetest"
)

func TestSignal(t *testing.T) {
	nodetest.Run(t, func(t *testing.T) *nodetest.Subject {
		p := nodetest.Start(t, nil)
		return p.Subject(func() nodetest.Node { return &node.Signal{PIDFile: p.PIDFile} })
	})
}

func TestCommand(t *testing.T) {
	nodetest.Run(t, func(t *testing.T) *nodetest.Subject {
		p := nodetest.Start(t, nil)
		pid := strconv.Itoa(p.PID())
		s := p.Subject(func() nodetest.Node {
			return &node.Command{
				// The signal is on its way when kill returns, so the command waits for its effect.
				QuiesceArgv: []string{"sh", "-c", "kill -STOP $0; until grep -q '^State:.T' /proc/$0/status; do :; done", pid},
				ResumeArgv:  []string{"kill", "-CONT", pid},
			}
		})
		s.Remove = nil // a command cannot say why it fails
		return s
	})
}

func TestNone(t *testing.T) {
	nodetest.Run(t, func(t *testing.T) *nodetest.Subject {
		db := rocksdb(t)
		return &nodetest.Subject{New: func() nodetest.Node { return &node.None{Database: db} }}
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustSay checks what an error says, and what it tells to do.
func mustSay(t *testing.T, err error, says, hint string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("error is %v, want %q in it", err, says)
		return
	}
	var h interface{ Hint() string }
	if hint != "" && (!errors.As(err, &h) || !strings.Contains(h.Hint(), hint)) {
		t.Errorf("%v: the hint is not about %q", err, hint)
	}
}

// rocksdb makes a directory with two RocksDB locks in it.
func rocksdb(t *testing.T) node.Database {
	t.Helper()
	kind, err := database.Lookup("rocksdb")
	check(t, err)
	dir := t.TempDir()
	for _, sub := range []string{"full", "full/parachains/db"} {
		check(t, os.MkdirAll(filepath.Join(dir, sub), 0o700))
		check(t, os.WriteFile(filepath.Join(dir, sub, "LOCK"), nil, 0o600))
	}
	return node.Database{Path: dir, Kind: kind}
}
