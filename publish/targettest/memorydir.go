package targettest

import (
	"os"
	"testing"
)

// MemoryDir is a temporary directory in memory, where there is such a thing: tests that
// publish a thousand times would wait for as many fsyncs.
func MemoryDir(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/dev/shm", "qsync-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	return base
}
