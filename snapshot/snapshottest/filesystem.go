// Package snapshottest gives the tests of snapshots the filesystems they need.
package snapshottest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/qsync/qsync/scripts/require"
)

var makeArguments = map[string][]string{
	"xfs":   {"-q", "-m", "reflink=1"},
	"btrfs": {"-q"},
	"ext4":  {"-q"},
}

// Filesystem mounts a new filesystem of a type on a loop device, and unmounts
// it when the test ends.
func Filesystem(t testing.TB, kind string, size int64) string {
	t.Helper()
	require.Root(t)
	mkfs := require.Tool(t, "mkfs."+kind)
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	run(t, mkfs, append(makeArguments[kind], image)...)
	dir := t.TempDir()
	run(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { run(t, "umount", dir) })
	return dir
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, output)
	}
}
