package node_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot/node"
	"github.com/qsync/qsync/snapshot/node/nodetest"
)

func TestSystemd(t *testing.T) {
	for _, mode := range []node.Mode{"", node.Freeze, node.Stop} {
		t.Run("mode "+string(mode), func(t *testing.T) {
			nodetest.Run(t, func(t *testing.T) *nodetest.Subject {
				m := startSystemd(t)
				s := m.Subject(func() nodetest.Node { return &node.Systemd{Unit: unitName, Mode: mode} })
				s.Remove = m.remove
				return s
			})
		})
	}
}

// The unit's disk hangs, so that it does not freeze. When the disk answers again
// the unit has been told to freeze all the same, and must go on.
func TestSystemdUnfreezesLate(t *testing.T) {
	m := startSystemd(t)
	disk := make(chan struct{})
	m.set(func() { m.disk = disk })
	n := &node.Systemd{Unit: unitName, Timeout: 500 * time.Millisecond}
	mustSay(t, n.Quiesce(t.Context()), "which is active and freezing: it did not stand still within 500ms", "")
	err := n.Resume(t.Context())
	mustSay(t, err, "thaw unit "+unitName, "")
	mustSay(t, err, "it did not go on within 500ms", "")
	n.Timeout = 0
	time.AfterFunc(50*time.Millisecond, func() { close(disk) })
	check(t, n.Resume(t.Context()))
	mustRun(t, m.Program)
}

func TestSystemdRefuses(t *testing.T) {
	accessDenied := dbusError("org.freedesktop.DBus.Error.AccessDenied", "Permission denied")
	askSomebody := dbusError("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "Interactive authentication required.")
	notHere := dbusError("org.freedesktop.DBus.Error.NotSupported", "Freezing/unfreezing not supported.")
	for name, c := range map[string]struct {
		mode    node.Mode
		prepare func(m *serviceManager)
		says    string
		hint    string
		check   bool // Check notices it too
	}{
		"denied to freeze": {node.Freeze, func(m *serviceManager) { m.refuse["FreezeUnit"], m.refuse["ThawUnit"] = accessDenied, accessDenied }, "Permission denied", "polkit", true},
		"denied to stop":   {node.Stop, func(m *serviceManager) { m.refuse["StopUnit"], m.refuse["ThawUnit"] = askSomebody, askSomebody }, "Interactive authentication", "polkit", true},
		"old systemd":      {node.Freeze, func(m *serviceManager) { m.old = true }, "", "systemd 246", true},
		"version 1":        {node.Freeze, func(m *serviceManager) { m.refuse["FreezeUnit"], m.refuse["ThawUnit"] = notHere, notHere }, "not supported", "mode: stop", true},
		"only says so":     {node.Freeze, func(m *serviceManager) { m.lies = true }, `it is "running" and not frozen`, "mode: stop", false},
		"no answer":        {node.Freeze, func(m *serviceManager) { m.refuse["GetAll"] = accessDenied }, "ask systemd about unit " + unitName, "polkit", true},
		"canceled":         {node.Stop, func(m *serviceManager) { m.jobResult = "canceled" }, "the job's result is canceled", "journalctl", false},
		"does not stop":    {node.Stop, func(m *serviceManager) { m.jobResult = "done" }, "it is active afterwards", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			m := startSystemd(t)
			m.set(func() { c.prepare(m) })
			n := &node.Systemd{Unit: unitName, Mode: c.mode}
			mustSay(t, n.Quiesce(t.Context()), c.says, c.hint)
			if err := n.Check(t.Context()); (err != nil) != c.check {
				t.Errorf("Check = %v", err)
			}
			mustRun(t, m.Program)
		})
	}
}

// In mode stop nothing depends on what an old systemd lacks.
func TestSystemdStopsWithoutFreezer(t *testing.T) {
	m := startSystemd(t)
	m.set(func() { m.old = true })
	n := &node.Systemd{Unit: unitName, Mode: node.Stop}
	check(t, n.Check(t.Context()))
	check(t, n.Quiesce(t.Context()))
	check(t, n.Resume(t.Context()))
	// To thaw what never freezes is nothing to fail at either.
	check(t, (&node.Systemd{Unit: unitName}).Resume(t.Context()))
}

func TestSystemdNoticesAnotherDatabase(t *testing.T) {
	db := rocksdb(t)
	lock := filepath.Join(db.Path, "full/LOCK")
	t.Run("of another unit", func(t *testing.T) {
		group := newGroup(t, unitName)
		nodetest.Start(t, inGroup(t, group))
		m := startSystemd(t)
		m.set(func() { m.group = strings.TrimPrefix(group, hierarchy(t)) })
		n := &node.Systemd{Unit: unitName, Database: db}
		mustSay(t, n.Quiesce(t.Context()), "has the database", "writes the database")
		mustSay(t, n.Check(t.Context()), "has the database", "writes the database")
		mustRun(t, m.Program)
	})
	t.Run("still open", func(t *testing.T) {
		m := startSystemd(t)
		n := &node.Systemd{Unit: unitName, Mode: node.Stop, Database: db}
		check(t, n.Quiesce(t.Context()))
		check(t, n.Resume(t.Context()))
		defer holdLock(t, lock)()
		mustSay(t, n.Quiesce(t.Context()), "a process has the database open", "")
		check(t, n.Resume(t.Context()))
		mustRun(t, m.Program)
	})
}

// A slice that holds both would freeze, and nobody would be left to thaw it.
func TestSystemdSparesItself(t *testing.T) {
	for _, mode := range []node.Mode{node.Freeze, node.Stop} {
		m := startSystemd(t)
		m.set(func() { m.group = "/" })
		n := &node.Systemd{Unit: unitName, Mode: mode}
		mustSay(t, n.Check(t.Context()), "also holds qsyncd", "of the node alone")
		mustSay(t, n.Quiesce(t.Context()), "also holds qsyncd", "of the node alone")
		check(t, n.Resume(t.Context()))
		mustRun(t, m.Program)
	}
}

// The agent freezes units that somebody has frozen already, but Check tells.
func TestSystemdFrozenBySomebody(t *testing.T) {
	m := startSystemd(t)
	n := &node.Systemd{Unit: unitName}
	check(t, n.Quiesce(t.Context()))
	mustSay(t, n.Check(t.Context()), "is frozen", "systemctl thaw")
	check(t, n.Quiesce(t.Context()))
	check(t, n.Resume(t.Context()))
	mustRun(t, m.Program)
}

func TestSystemdWithoutBus(t *testing.T) {
	if _, err := os.Stat("/run/systemd/private"); err == nil {
		t.Skip("systemd can be reached without a bus")
	}
	dir, err := os.MkdirTemp("", "qsync-bus")
	check(t, err)
	defer func() { check(t, os.RemoveAll(dir)) }()
	socket := filepath.Join(dir, "socket")
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+socket)
	n := &node.Systemd{Unit: unitName, Timeout: 50 * time.Millisecond}
	mustSay(t, n.Quiesce(t.Context()), "connect to systemd over D-Bus", "node: freezer or signal")
	// One that accepts and never answers.
	listener, err := net.Listen("unix", socket)
	check(t, err)
	defer listener.Close()
	mustSay(t, n.Quiesce(t.Context()), "within 50ms", "node: freezer or signal")
	mustSay(t, n.Resume(t.Context()), "within 50ms", "node: freezer or signal")
}
