package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/node"
	"github.com/qsync/qsync/snapshot/node/nodetest"
	"github.com/qsync/qsync/snapshot/snapshottest"
)

func TestFreezerOfProcess(t *testing.T) {
	nodetest.Run(t, func(t *testing.T) *nodetest.Subject {
		p, _ := startInGroup(t, "some.scope")
		return p.Subject(func() nodetest.Node { return &node.Freezer{PIDFile: p.PIDFile} })
	})
}

func TestFreezerOfUnit(t *testing.T) {
	nodetest.Run(t, func(t *testing.T) *nodetest.Subject {
		p, group := startInGroup(t, "qsynctest-node.service")
		// The same name inside another unit, such as a container, is not the unit.
		check(t, os.MkdirAll(filepath.Join(filepath.Dir(group), "a.scope", filepath.Base(group)), 0o755))
		return p.Subject(func() nodetest.Node { return &node.Freezer{Unit: filepath.Base(group)} })
	})
}

// A real node, which holds its database open and is recognised by it.
func TestFreezerOfDatabase(t *testing.T) {
	group := newGroup(t, "qsynctest-pebble.service")
	kind, err := database.Lookup("pebble")
	check(t, err)
	// The node is a child of the unit's first process, in a group below the unit's.
	below := filepath.Join(group, "below")
	check(t, os.Mkdir(below, 0o755))
	dir := t.TempDir()
	db := node.Database{Path: filepath.Join(dir, "db"), Kind: kind}
	live := exec.Command(require.PebbleNode(t), "run", "--db", db.Path, "--pid-file", filepath.Join(dir, "pid"))
	live.SysProcAttr = inGroup(t, below)
	check(t, live.Start())
	t.Cleanup(func() {
		_ = live.Process.Kill()
		_ = live.Wait()
	})
	eventually(t, "the node writes", func() bool {
		_, err := os.Stat(filepath.Join(dir, "pid"))
		return err == nil
	})
	for _, n := range []*node.Freezer{
		{Unit: "qsynctest-pebble.service", Database: db},
		{PIDFile: filepath.Join(dir, "pid"), Database: db},
	} {
		check(t, n.Check(t.Context()))
		check(t, n.Quiesce(t.Context()))
		before := written(t, db.Path)
		time.Sleep(50 * time.Millisecond)
		if after := written(t, db.Path); after != before {
			t.Errorf("%s: the frozen node has changed its files from %d bytes to %d", n, before, after)
		}
		check(t, n.Resume(t.Context()))
		eventually(t, "the node goes on", func() bool { return written(t, db.Path) != before })
	}

	p, other := startInGroup(t, "qsynctest-other.service")
	for _, n := range []*node.Freezer{
		{Unit: filepath.Base(other), Database: db},
		{PIDFile: p.PIDFile, Database: db},
	} {
		mustSay(t, n.Quiesce(t.Context()), "has the database", "writes the database")
		mustSay(t, n.Check(t.Context()), "has the database", "writes the database")
	}
	mustRun(t, p)
}

// written is how much a database's directory holds.
func written(t *testing.T, dir string) (size int64) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreMissing(err)
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return ignoreMissing(err)
	}))
	return size
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// mustRun checks that a program was not held.
func mustRun(t *testing.T, p *nodetest.Program) {
	t.Helper()
	before := p.Written()
	eventually(t, "the program writes", func() bool { return p.Written() > before })
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 20 s it did not come about that %s", what)
		}
	}
}

// What freezes its own group never comes back to thaw it.
func TestFreezerRefusesItsOwnGroup(t *testing.T) {
	if os.Getenv("QSYNC_TEST_FREEZE_SELF") != "" {
		n := &node.Freezer{PIDFile: os.Getenv("QSYNC_TEST_FREEZE_SELF")}
		mustSay(t, n.Check(t.Context()), "also holds qsyncd", "a unit of its own")
		mustSay(t, n.Quiesce(t.Context()), "also holds qsyncd", "a unit of its own")
		return
	}
	p, group := startInGroup(t, "some.scope")
	below := filepath.Join(group, "below")
	check(t, os.Mkdir(below, 0o755))
	for _, dir := range []string{group, below} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		self := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		self.Env = append(os.Environ(), "QSYNC_TEST_FREEZE_SELF="+p.PIDFile)
		self.SysProcAttr = inGroup(t, dir)
		if output, err := self.CombinedOutput(); err != nil {
			t.Errorf("in %s: %v\n%s", dir, err, output)
		}
	}
	mustRun(t, p)
}

func TestFreezerRefusesTheRoot(t *testing.T) {
	require.Root(t)
	p := nodetest.Start(t, nil)
	check(t, os.WriteFile(filepath.Join(hierarchy(t), "cgroup.procs"), strconv.AppendInt(nil, int64(p.PID()), 10), 0))
	n := &node.Freezer{PIDFile: p.PIDFile}
	mustSay(t, n.Quiesce(t.Context()), "the root control group", "as a unit")
	mustSay(t, n.Check(t.Context()), "the root control group", "as a unit")
	mustRun(t, p)
}

// Who has frozen a group thaws it even if it is not to be found any more: other
// processes in it would stand still for ever.
func TestFreezerThawsWhatItFroze(t *testing.T) {
	p, group := startInGroup(t, "some.scope")
	other := nodetest.Start(t, inGroup(t, group))
	n := &node.Freezer{PIDFile: p.PIDFile}
	check(t, n.Quiesce(t.Context()))
	p.Kill()
	if err := n.Resume(t.Context()); !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Resume = %v, want ErrNodeGone", err)
	}
	mustRun(t, other)
}

// A process that waits for a disk that does not answer cannot be frozen.
func TestFreezerGivesUp(t *testing.T) {
	group := newGroup(t, "some.scope")
	disk := snapshottest.Filesystem(t, "ext4", 16<<20)
	fsfreeze := require.Tool(t, "fsfreeze")
	pidFile := filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command("sh", "-c", `while echo block >"$0"; do :; done`, filepath.Join(disk, "file"))
	cmd.SysProcAttr = inGroup(t, group)
	check(t, exec.Command(fsfreeze, "--freeze", disk).Run())
	check(t, cmd.Start())
	defer func() {
		check(t, exec.Command(fsfreeze, "--unfreeze", disk).Run()) // else it cannot even be killed
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	check(t, os.WriteFile(pidFile, strconv.AppendInt(nil, int64(cmd.Process.Pid), 10), 0o600))
	eventually(t, "the process waits for its disk", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		return err == nil && strings.Contains(string(status), ") D ")
	})
	n := &node.Freezer{PIDFile: pidFile, Timeout: 100 * time.Millisecond}
	mustSay(t, n.Quiesce(t.Context()), "it did not stand still within 100ms", "")
	check(t, n.Resume(t.Context()))
}
