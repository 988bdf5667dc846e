package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot/node"
)

// lockExclusively takes an OFD lock, for one of the process itself would not show to itself.
func lockExclusively(f *os.File) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

func TestNoneRefusesAnOpenDatabase(t *testing.T) {
	for name, hold := range map[string]func(f *os.File) error{
		"fcntl": lockExclusively,
		"flock": func(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) },
	} {
		t.Run(name, func(t *testing.T) {
			db := rocksdb(t)
			n := &node.None{Database: db}
			f, err := os.OpenFile(filepath.Join(db.Path, "full/parachains/db/LOCK"), os.O_RDWR, 0)
			check(t, err)
			check(t, hold(f))
			if err := n.Quiesce(t.Context()); err == nil || !strings.Contains(err.Error(), "a process has the database open") {
				t.Errorf("Quiesce of an open database = %v", err)
			}
			if n.Check(t.Context()) == nil {
				t.Error("Check does not notice it")
			}
			check(t, n.Resume(t.Context()))
			check(t, f.Close())
			check(t, n.Check(t.Context()))

			check(t, n.Quiesce(t.Context()))
			again, err := os.OpenFile(filepath.Join(db.Path, "full/LOCK"), os.O_RDWR, 0)
			check(t, err)
			defer again.Close()
			if hold(again) == nil {
				t.Error("a node could open the database during the cut")
			}
			check(t, n.Resume(t.Context()))
			check(t, hold(again))
		})
	}
}
