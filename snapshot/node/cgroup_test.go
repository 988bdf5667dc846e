package node_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot/node/nodetest"
)

// hierarchy is where control groups of version 2 are. A kernel need not have
// them, not even on a build server.
func hierarchy(t *testing.T) string {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	check(t, err)
	if len(mounts) == 0 {
		t.Skip("no control groups of version 2 are mounted")
	}
	return mounts[0].Mountpoint
}

// newGroup makes a control group in a slice of its own. When the test ends all
// that runs in it is killed.
func newGroup(t *testing.T, name string) (dir string) {
	t.Helper()
	require.Root(t)
	root := hierarchy(t)
	slice, err := os.MkdirTemp(root, "qsynctest*.slice")
	if err != nil {
		t.Skipf("no control group can be made: %v", err)
	}
	t.Cleanup(func() {
		removeGroup(t, slice)
		removeOldGroups(t, filepath.Base(slice))
	})
	dir = filepath.Join(slice, name)
	check(t, os.Mkdir(dir, 0o755))
	return dir
}

func removeGroup(t *testing.T, dir string) {
	t.Helper()
	check(t, os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0))
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		check(t, err)
		if bytes.Contains(events, []byte("populated 0")) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("control group %s does not become empty", dir)
		}
	}
	removeDirectories(t, dir)
}

// removeDirectories removes a tree of control groups, whose files cannot be removed.
func removeDirectories(t *testing.T, dir string) {
	t.Helper()
	var groups []string
	check(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			groups = append(groups, path)
		}
		return err
	}))
	for _, group := range slices.Backward(groups) {
		check(t, os.Remove(group))
	}
}

// removeOldGroups removes what a service manager that ran in a group has left in
// version 1 of the control groups, where the system has that beside version 2.
func removeOldGroups(t *testing.T, name string) {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup"))
	check(t, err)
	for _, m := range mounts {
		dir := filepath.Join(m.Mountpoint, name)
		if _, err := os.Stat(dir); err == nil {
			removeDirectories(t, dir)
		}
	}
}

// inGroup makes a program start in a control group.
func inGroup(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	f, err := os.Open(dir)
	check(t, err)
	t.Cleanup(func() { check(t, f.Close()) })
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
}

// startInGroup runs a program in a control group of its own, of this name.
func startInGroup(t *testing.T, name string) (p *nodetest.Program, group string) {
	t.Helper()
	group = newGroup(t, name)
	return nodetest.Start(t, inGroup(t, group)), group
}
