package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/scripts/require"
)

const patience = 30 * time.Second

// eventually waits until ok, and fails with what it waited for.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// build builds the real program: the test binary that scripts run as qsyncd is
// larger.
var build = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "qsyncd-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "qsyncd")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build qsyncd: %w\n%s", err, out)
	}
	return os.ReadFile(program)
})

// daemon is a qsyncd run, with a directory of its own.
type daemon struct {
	*testing.T
	dir     string
	program string
	cmd     *exec.Cmd
	log     bytes.Buffer
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	program, err := build()
	must(t, err)
	d := &daemon{T: t, dir: t.TempDir()}
	d.program = filepath.Join(d.dir, "qsyncd")
	must(t, os.WriteFile(d.program, program, 0o755))
	if out, err := exec.Command(d.program, "keys", "generate", "--name", "snapshots.example.org", "--out", d.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return d
}

// configure writes the configuration of a channel.
func (d *daemon) configure(name, channel string) {
	d.Helper()
	must(d.T, os.WriteFile(filepath.Join(d.dir, "qsyncd.yaml"), fmt.Appendf(nil, `
publisher: snapshots.example.org
key: snapshots.example.org.key
state: state
targets: [{dir: {path: out}}]
channels: [{name: %s, chain: demo, %s}]
`, name, channel), 0o644))
}

func (d *daemon) start(env ...string) {
	d.Helper()
	d.cmd = exec.Command(d.program, "run", "-c", filepath.Join(d.dir, "qsyncd.yaml"))
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stderr = &d.log
	d.cmd.WaitDelay = patience // a guard has the same standard error for a moment
	must(d.T, d.cmd.Start())
	cmd := d.cmd
	d.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if d.Failed() {
			d.Logf("qsyncd says:\n%s", d.log.String())
		}
	})
}

// stop ends it as systemd does.
func (d *daemon) stop() {
	d.Helper()
	must(d.T, d.cmd.Process.Signal(syscall.SIGTERM))
	must(d.T, d.cmd.Wait())
}

func (d *daemon) last(channel string) (newest status.Run) {
	d.Helper()
	runs, err := status.RunsIn(filepath.Join(d.dir, "state")).Last(channel, 1)
	must(d.T, err)
	if len(runs) > 0 {
		newest = runs[0]
	}
	return newest
}

// testNode is a node that writes its database all the time.
type testNode struct {
	*testing.T
	db  string
	pid int
}

func startNode(t *testing.T, dir string) *testNode {
	t.Helper()
	n := &testNode{T: t, db: filepath.Join(dir, "db")}
	pidFile := filepath.Join(dir, "pid")
	cmd := exec.Command(require.PebbleNode(t), "run", "--db", n.db, "--pid-file", pidFile)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, patience, "the node writes", func() bool {
		_, err := os.Stat(pidFile)
		return err == nil
	})
	n.pid = cmd.Process.Pid
	return n
}

var processState = regexp.MustCompile(`(?m)^State:\s+(\w)`)

func (n *testNode) stopped() bool {
	n.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n.pid), "status"))
	must(n.T, err)
	m := processState.FindSubmatch(b)
	return m == nil || string(m[1]) == "T"
}

// written is how many bytes the node has written so far.
func (n *testNode) written() string {
	n.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n.pid), "io"))
	must(n.T, err)
	_, rest, _ := strings.Cut(string(b), "wchar: ")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

// TestDaemonKilled kills the agent in the middle of runs. The node goes on, and the
// next agent publishes.
func TestDaemonKilled(t *testing.T) {
	const channel = "demo-pebble"
	d := newDaemon(t)
	node := startNode(t, d.dir)
	d.configure(channel, `database: {kind: pebble, path: db}, node: {signal: {pid_file: pid}}, schedule: "@every 1s"`)
	midway := 0
	for round := range 4 {
		d.start()
		eventually(t, patience, "a run", func() bool { return d.last(channel).Outcome == status.Running })
		time.Sleep(time.Duration(round) * 10 * time.Millisecond) // not to wait for anything: to be elsewhere in the run
		must(t, d.cmd.Process.Kill())
		_ = d.cmd.Wait()
		killed := d.last(channel)
		before := node.written()
		eventually(t, 2*time.Second, "the node goes on", func() bool { return !node.stopped() && node.written() != before })
		if killed.Outcome != status.Running {
			continue // it has ended just before
		}
		midway++

		d.start()
		eventually(t, patience, "the next run publishes", func() bool {
			r := d.last(channel)
			return r.ID > killed.ID && r.Outcome == status.Published
		})
		runs, err := status.RunsIn(filepath.Join(d.dir, "state")).Last(channel, 100)
		must(t, err)
		i := slices.IndexFunc(runs, func(r status.Run) bool { return r.ID == killed.ID })
		if runs[i].Outcome != status.Interrupted {
			t.Errorf("the run that was killed: %+v", runs[i])
		}
		d.stop()
		if node.stopped() {
			t.Error("the node stands still after the agent has ended")
		}
	}
	if midway == 0 {
		t.Error("no run was killed midway")
	}
	forks, err := filepath.Glob(filepath.Join(d.dir, ".*fork*"))
	if err != nil || len(forks) > 0 {
		t.Errorf("left: %s, %v", forks, err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "state", channel+".snapshot.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a run is still on record as under way: %v", err)
	}
}

// TestDaemonService is the agent as systemd sees it: what it says, how it reloads,
// and how much memory it takes while it waits for the next run.
func TestDaemonService(t *testing.T) {
	const channel = "demo-files"
	const mostMemory = 44 << 10 // KiB, less than a run takes; most of it is the program itself
	d := newDaemon(t)
	db := filepath.Join(d.dir, "db")
	must(t, os.Mkdir(db, 0o755))
	for i := range 4 {
		block := bytes.Repeat([]byte{byte(i), 1, 2, 3, 5, 8, 13}, 3<<20)
		must(t, os.WriteFile(filepath.Join(db, strconv.Itoa(i)), block, 0o644))
	}
	socket := filepath.Join(d.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	defer conn.Close()
	heard := make(chan string, 1000)
	go func() {
		defer close(heard)
		for b := make([]byte, 4096); ; {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			heard <- string(b[:n])
		}
	}()
	hear := func(want string) string {
		t.Helper()
		for end := time.After(patience); ; {
			select {
			case said := <-heard:
				if strings.Contains(said, want) {
					return said
				}
			case <-end:
				t.Fatalf("%s was not said", want)
			}
		}
	}

	d.configure(channel, `database: {kind: files, path: db}, node: {none: {}}, schedule: "@every 1s"`)
	d.start("NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=400000")
	hear("READY=1")
	hear("STATUS=next run of demo-files at ")
	for range 3 {
		hear("WATCHDOG=1")
	}
	hear("STATUS=demo-files: publishing")
	eventually(t, patience, "runs publish", func() bool { r := d.last(channel); return r.ID >= 3 && r.Outcome == status.Published })

	d.configure(channel, `database: {kind: files, path: db}, node: {none: {}}, schedule: "0 4 1 1 *"`)
	must(t, d.cmd.Process.Signal(syscall.SIGHUP))
	if said := hear("RELOADING=1"); !strings.Contains(said, "\nMONOTONIC_USEC=") {
		t.Errorf("systemd wants to know when: %q", said)
	}
	hear("READY=1")
	hear("-01-01 04:00:00 UTC")
	d.configure(channel, `database: {kind: files, path: db}, node: {nobody: {}}`)
	must(t, d.cmd.Process.Signal(syscall.SIGHUP))
	hear("READY=1")

	if takes := memory(t, d.cmd.Process.Pid); takes > mostMemory {
		t.Errorf("waiting for the next run takes %d KiB of memory, more than %d", takes, mostMemory)
	} else {
		t.Logf("waiting for the next run takes %d KiB of memory", takes)
	}
	d.stop()
	hear("STOPPING=1")
	if !strings.Contains(d.log.String(), "the old one stays") || !strings.Contains(d.log.String(), "nobody: unknown key") {
		t.Errorf("the broken configuration is not told of:\n%s", d.log.String())
	}
}

var residentMemory = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB`)

// memory is what a process takes, in KiB.
func memory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	must(t, err)
	m := residentMemory.FindSubmatch(b)
	if m == nil {
		t.Fatalf("no memory in %s", b)
	}
	n, err := strconv.Atoi(string(m[1]))
	must(t, err)
	return n
}
