package fetcher_test

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// holdLock has another process hold the lock of a database, the way RocksDB and
// Pebble do. The process is this test again.
func holdLock(t *testing.T, path string) (release func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHoldLock$")
	cmd.Env = append(os.Environ(), "QSYNC_TEST_HOLD="+path)
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	_, err = out.Read(make([]byte, 1)) // it holds the lock now
	check(t, err)
	return func() {
		check(t, in.Close())
		check(t, cmd.Wait())
	}
}

// TestHoldLock is the other process; by itself it does nothing.
func TestHoldLock(t *testing.T) {
	path := os.Getenv("QSYNC_TEST_HOLD")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	check(t, err)
	check(t, unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	_, err = os.Stdout.WriteString("held\n")
	check(t, err)
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the parent closes it
}
