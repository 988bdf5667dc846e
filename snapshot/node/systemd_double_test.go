package node_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot/node/nodetest"
)

// serviceManager answers on a real D-Bus as systemd 252 does, and can be made to
// fail in ways that a real one cannot. Its one unit is a process that really runs.
type serviceManager struct {
	*nodetest.Program
	conn *dbus.Conn

	mu      sync.Mutex
	removed bool
	freezer string
	jobs    int

	refuse    map[string]*dbus.Error // what a method answers
	disk      chan struct{}          // if not nil, the unit freezes only when it is closed
	old       bool                   // it knows nothing of freezing
	lies      bool                   // it says that it freezes, and does not
	group     string                 // the unit's control group
	jobResult string                 // of every job, if not empty
}

const (
	unitName = "test-node@1.service"
	unitPath = dbus.ObjectPath("/org/freedesktop/systemd1/unit")
	manager1 = "org.freedesktop.systemd1.Manager"
)

// busConfig is that of a bus on which everything is allowed.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
`

// startBus starts a bus, which this process then takes for the system's.
func startBus(t *testing.T) *dbus.Conn {
	t.Helper()
	daemon := require.Tool(t, "dbus-daemon")
	dir, err := os.MkdirTemp("", "qsync-bus") // a socket's path must be short
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	config, socket := filepath.Join(dir, "config"), filepath.Join(dir, "socket")
	check(t, os.WriteFile(config, fmt.Appendf(nil, busConfig, socket), 0o600))
	cmd := exec.Command(daemon, "--config-file="+config, "--nofork", "--nopidfile", "--print-address")
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n') // it listens
	check(t, err)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+socket)
	conn, err := dbus.Connect(strings.TrimSpace(address))
	check(t, err)
	t.Cleanup(func() { check(t, conn.Close()) })
	return conn
}

func startSystemd(t *testing.T) *serviceManager {
	t.Helper()
	m := &serviceManager{Program: nodetest.Start(t, nil), conn: startBus(t), freezer: "running", refuse: map[string]*dbus.Error{}}
	check(t, m.conn.Export(methods{m}, "/org/freedesktop/systemd1", manager1))
	check(t, m.conn.ExportSubtree(properties{m}, unitPath, "org.freedesktop.DBus.Properties"))
	_, err := m.conn.RequestName("org.freedesktop.systemd1", dbus.NameFlagDoNotQueue)
	check(t, err)
	return m
}

// remove is to delete the unit's file, stop it and reload.
func (m *serviceManager) remove() {
	m.Kill()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removed = true
}

// set changes how it behaves.
func (m *serviceManager) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func dbusError(name, format string, args ...any) *dbus.Error {
	return dbus.NewError(name, []any{fmt.Sprintf(format, args...)})
}

// methods are those of the manager.
type methods struct{ m *serviceManager }

// begin answers for units that are not there and methods that are made to fail.
// It takes the lock.
func (m *serviceManager) begin(method, unit string) *dbus.Error {
	m.mu.Lock()
	if e := m.refuse[method]; e != nil {
		return e
	}
	if unit != unitName || m.removed {
		return dbusError("org.freedesktop.systemd1.NoSuchUnit", "Unit %s not loaded.", unit)
	}
	return nil
}

func (m *serviceManager) freezable(method, unit string) *dbus.Error {
	if err := m.begin(method, unit); err != nil {
		return err
	}
	switch {
	case m.old:
		return dbusError("org.freedesktop.DBus.Error.UnknownMethod", "Unknown method %s or interface %s.", method, manager1)
	case !m.Runs():
		return dbusError("org.freedesktop.systemd1.UnitInactive", "Unit %s is not active.", unit)
	case m.freezer == "freezing":
		return dbusError("org.freedesktop.systemd1.UnitBusy", "Previously requested freezer operation for unit '%s' is still in progress.", unit)
	}
	return nil
}

func (a methods) FreezeUnit(unit string) *dbus.Error {
	m := a.m
	err := m.freezable("FreezeUnit", unit)
	defer m.mu.Unlock()
	if err != nil || m.lies {
		return err
	}
	if disk := m.disk; disk != nil {
		m.freezer = "freezing"
		m.mu.Unlock()
		<-disk
		m.mu.Lock()
	}
	m.Freeze()
	m.freezer = "frozen"
	return nil
}

func (a methods) ThawUnit(unit string) *dbus.Error {
	m := a.m
	err := m.freezable("ThawUnit", unit)
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	m.Thaw()
	m.freezer = "running"
	return nil
}

func (a methods) StopUnit(unit, _ string) (dbus.ObjectPath, *dbus.Error) {
	err := a.m.begin("StopUnit", unit)
	defer a.m.mu.Unlock()
	if err != nil {
		return "", err
	}
	return a.m.job(func() {
		a.m.Thaw()
		a.m.Signal(syscall.SIGTERM)
		<-a.m.Ended()
	}), nil
}

func (a methods) StartUnit(unit, _ string) (dbus.ObjectPath, *dbus.Error) {
	err := a.m.begin("StartUnit", unit)
	defer a.m.mu.Unlock()
	if err != nil {
		return "", err
	}
	return a.m.job(a.m.Start), nil
}

// job does something after the method has answered; the caller holds the lock.
func (m *serviceManager) job(do func()) dbus.ObjectPath {
	m.jobs++
	id := uint32(m.jobs)
	path := dbus.ObjectPath(fmt.Sprintf("/org/freedesktop/systemd1/job/%d", id))
	result := m.jobResult
	go func() {
		if result == "" {
			do()
			result = "done"
		}
		_ = m.conn.Emit("/org/freedesktop/systemd1", manager1+".JobRemoved", id, path, unitName, result)
	}()
	return path
}

// properties are those of all units: systemd has an object for each name.
type properties struct{ m *serviceManager }

func (p properties) GetAll(message dbus.Message, kind string) (map[string]dbus.Variant, *dbus.Error) {
	m := p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refuse["GetAll"]; err != nil {
		return nil, err
	}
	path, _ := message.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	known := !m.removed && strings.HasSuffix(string(path), "/test_2dnode_401_2eservice")
	all := map[string]string{"LoadState": "not-found", "ActiveState": "inactive"}
	switch {
	case known && kind == "org.freedesktop.systemd1.Service":
		all = map[string]string{"Result": "success", "ControlGroup": m.group}
	case known:
		all["LoadState"] = "loaded"
		if m.Runs() {
			all["ActiveState"] = "active"
		}
	}
	answer := map[string]dbus.Variant{}
	for k, v := range all {
		answer[k] = dbus.MakeVariant(v)
	}
	if !m.old {
		maps.Copy(answer, map[string]dbus.Variant{"FreezerState": dbus.MakeVariant(m.freezer), "CanFreeze": dbus.MakeVariant(true)})
	}
	return answer, nil
}
