package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/node"
	"github.com/qsync/qsync/snapshot/node/nodetest"
)

// machine is a systemd that really runs, as the first process of a container
// whose programs are those of this system.
type machine struct {
	dir   string // that the container sees as /shared
	root  string // of the container, once it runs
	units atomic.Int64
}

// boot starts the machine. This process then takes its D-Bus for the system's.
func boot(t *testing.T) *machine {
	t.Helper()
	require.Root(t)
	nspawn := require.Tool(t, "systemd-nspawn")
	require.Tool(t, "dbus-daemon")
	group := newGroup(t, "machine.scope")

	root, shared := t.TempDir(), t.TempDir()
	for _, dir := range []string{"usr/lib", "etc/systemd/system", "proc", "sys", "dev", "run", "tmp", "var", "root"} {
		check(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if _, err := os.Stat(filepath.Join("/usr", dir)); err == nil {
			check(t, os.Symlink("usr/"+dir, filepath.Join(root, dir)))
		}
	}
	for file, content := range map[string]string{
		"etc/passwd":                     "root:x:0:0::/root:/bin/sh\nmessagebus:x:100:100::/:/usr/sbin/nologin\n",
		"etc/group":                      "root:x:0:\nmessagebus:x:100:\n",
		"usr/lib/os-release":             "ID=test\n", // makes it a system to nspawn
		"etc/systemd/system/test.target": "[Unit]\nRequires=dbus.socket\nAfter=dbus.socket\n",
	} {
		check(t, os.WriteFile(filepath.Join(root, file), []byte(content), 0o644))
	}
	var said bytes.Buffer
	// What is mounted is so in the machine only, so that nothing of this system can
	// be removed together with the directory.
	cmd := exec.Command(nspawn, "--directory="+root, "--bind-ro=/usr", "--bind="+shared+":/shared", "--private-network", "--register=no", "--keep-unit",
		"--console=pipe", "--boot", "systemd.unit=test.target")
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	cmd.SysProcAttr = inGroup(t, group)
	cmd.Stdout, cmd.Stderr = &said, &said
	check(t, cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and the machine with it
		<-ended
		if t.Failed() {
			t.Logf("the machine says:\n%s", &said)
		}
	})
	m := &machine{dir: shared}
	eventually(t, "the machine runs", func() bool {
		select {
		case <-ended:
			t.Fatal("the machine does not start")
		default:
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		if err != nil || len(bytes.Fields(children)) == 0 {
			return false
		}
		m.root = "/proc/" + string(bytes.Fields(children)[0]) + "/root"
		socket := filepath.Join(m.root, "run/dbus/system_bus_socket")
		t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+socket)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		conn, err := systemd.NewSystemConnectionContext(ctx)
		if err != nil {
			return false
		}
		defer conn.Close()
		p, err := conn.GetUnitPropertyContext(ctx, "test.target", "ActiveState")
		return err == nil && p.Value.Value() == "active"
	})
	return m
}

// connection is one to the machine's systemd.
func (m *machine) connection(t *testing.T) *systemd.Conn {
	t.Helper()
	conn, err := systemd.NewSystemConnectionContext(context.Background()) // which clean-up needs too
	check(t, err)
	t.Cleanup(conn.Close)
	return conn
}

// start runs a service that writes; more goes into its [Service] section.
func (m *machine) start(t *testing.T, more string) *nodetest.Subject {
	t.Helper()
	unit := fmt.Sprintf("node%d.service", m.units.Add(1))
	file := filepath.Join(m.root, "run/systemd/system", unit)
	check(t, os.MkdirAll(filepath.Dir(file), 0o755))
	check(t, os.WriteFile(file, fmt.Appendf(nil, `[Service]
Type=exec
ExecStart=/bin/sh -c 'exec >>/shared/%s; while :; do echo block; done'
%s
`, unit, more), 0o644))
	conn := m.connection(t)
	check(t, os.WriteFile(filepath.Join(m.dir, unit), nil, 0o644))
	check(t, conn.ReloadContext(t.Context()))
	done := make(chan string, 1)
	_, err := conn.StartUnitContext(t.Context(), unit, "replace", done)
	check(t, err)
	if result := <-done; result != "done" {
		t.Fatalf("start %s: %s", unit, result)
	}
	t.Cleanup(func() { _ = conn.KillUnitWithTarget(context.Background(), unit, systemd.All, int32(unix.SIGKILL)) }) // if it runs
	return &nodetest.Subject{
		New: func() nodetest.Node { return &node.Systemd{Unit: unit} },
		Written: func() int64 {
			info, err := os.Stat(filepath.Join(m.dir, unit))
			check(t, err)
			return info.Size()
		},
		PID: func() int {
			p, err := conn.GetServicePropertyContext(t.Context(), unit, "MainPID")
			check(t, err)
			pid, err := strconv.Atoi(strings.TrimPrefix(p.Value.String(), "@u "))
			check(t, err)
			return pid
		},
		Remove: func() {
			check(t, os.Remove(file))
			_ = conn.ThawUnit(t.Context(), unit) // one that is frozen does not stop
			done := make(chan string, 1)
			// One that does not run may be forgotten as soon as its file is gone.
			if _, err := conn.StopUnitContext(t.Context(), unit, "replace", done); err == nil {
				<-done
			}
			_ = conn.ResetFailedUnitContext(t.Context(), unit)
			check(t, conn.ReloadContext(t.Context()))
		},
	}
}

func TestSystemdThatIsReal(t *testing.T) {
	m := boot(t)
	for _, mode := range []node.Mode{node.Freeze, node.Stop} {
		t.Run("mode "+string(mode), func(t *testing.T) {
			nodetest.Run(t, func(t *testing.T) *nodetest.Subject {
				s := m.start(t, "")
				unit := s.New().(*node.Systemd).Unit
				s.New = func() nodetest.Node { return &node.Systemd{Unit: unit, Mode: mode} }
				return s
			})
		})
	}
	t.Run("gone", func(t *testing.T) {
		n := &node.Systemd{Unit: "nosuch.service"}
		mustSay(t, n.Quiesce(t.Context()), "systemd does not know it", "list-units")
		n = &node.Systemd{Unit: "nosuch"}
		mustSay(t, n.Quiesce(t.Context()), "a name without a type", "nosuch.service")
	})
	t.Run("stopped by somebody", func(t *testing.T) { testLeavesAStoppedUnit(t, m) })
	t.Run("a stop under way", func(t *testing.T) { testUndoesAStopUnderWay(t, m) })
	t.Run("killed", func(t *testing.T) {
		s := m.start(t, "ExecStop=/bin/sleep 60\nTimeoutStopSec=50ms")
		n := s.New().(*node.Systemd)
		n.Mode = node.Stop
		mustSay(t, n.Quiesce(t.Context()), "did not end by itself, systemd says timeout", "TimeoutStopSec=")
		check(t, n.Resume(t.Context()))
	})
	t.Run("does not start", func(t *testing.T) {
		s := m.start(t, "ExecStartPre=/bin/sh -c '! test -e /shared/broken'")
		n := s.New().(*node.Systemd)
		n.Mode = node.Stop
		check(t, n.Quiesce(t.Context()))
		broken := filepath.Join(m.dir, "broken")
		check(t, os.WriteFile(broken, nil, 0o600))
		mustSay(t, n.Resume(t.Context()), "the job's result is failed", "journalctl -u "+n.Unit)
		check(t, os.Remove(broken))
		check(t, n.Resume(t.Context()))
	})
}

// Who stops a unit before us does not want it started by us.
func testLeavesAStoppedUnit(t *testing.T, m *machine) {
	s := m.start(t, "")
	n, other := s.New().(*node.Systemd), s.New().(*node.Systemd)
	n.Mode, other.Mode = node.Stop, node.Stop
	check(t, other.Quiesce(t.Context()))
	err := n.Quiesce(t.Context())
	if !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("Quiesce = %v, want ErrNodeGone", err)
	}
	mustSay(t, err, "it is inactive", "systemctl start "+n.Unit)
	check(t, n.Resume(t.Context()))
	if s.PID() != 0 {
		t.Error("Resume has started a unit that Quiesce found stopped")
	}
	check(t, other.Resume(t.Context()))
	if s.PID() == 0 {
		t.Error("Resume did not start the unit that Quiesce stopped")
	}
}

// The agent dies when it has told the unit to stop, and the guard resumes it
// while it is stopping.
func testUndoesAStopUnderWay(t *testing.T, m *machine) {
	s := m.start(t, "ExecStop=/bin/sleep 1")
	before := s.PID()
	first, second := s.New().(*node.Systemd), s.New().(*node.Systemd)
	first.Mode, second.Mode = node.Stop, node.Stop
	ctx, cancel := context.WithCancelCause(t.Context())
	quiesced := make(chan error, 1)
	go func() { quiesced <- first.Quiesce(ctx) }()
	conn := m.connection(t)
	eventually(t, "the unit is stopping", func() bool {
		p, err := conn.GetUnitPropertyContext(t.Context(), first.Unit, "ActiveState")
		return err == nil && p.Value.Value() == "deactivating"
	})
	cancel(snapshot.ErrPause)
	err := <-quiesced
	if !errors.Is(err, snapshot.ErrPause) {
		t.Errorf("Quiesce = %v", err)
	}
	mustSay(t, err, "which is deactivating", "raise max_pause")
	check(t, second.Resume(t.Context()))
	if after := s.PID(); after == before || after == 0 {
		t.Errorf("the unit's process was %d and is now %d", before, after)
	}
}
