package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/snapshot/guard"
)

func (d *doctor) checkMachine(ctx context.Context, cfg *config.Agent) {
	d.checkClock(time.Now())
	overview, err := agent.Look(ctx, cfg, nil)
	switch {
	case err != nil:
		d.failed("agent", err, "")
	case overview.Agent == nil:
		d.warn("agent", "systemctl enable --now qsyncd", "it does not run, so nothing is published on schedule and what is signed expires")
	case !underUnit(overview.Agent.Process):
		d.warn("agent", "install the unit in scripts/systemd: it starts the agent again, and lets its guard outlive it",
			"process %d runs under no unit of systemd", overview.Agent.Process)
	default:
		d.ok("agent", "it runs as process %d", overview.Agent.Process)
	}
}

// firstYear is when this program was young: a clock that is before it is wrong.
const firstYear = 2025

// unsynchronized is the state of a clock that nobody sets.
const unsynchronized = 5 // TIME_ERROR of adjtimex(2)

func (d *doctor) checkClock(now time.Time) {
	const advice = "timedatectl set-ntp true, or another program that sets the clock"
	if now.Year() < firstYear {
		d.warn("clock", advice, "it shows %s", now.UTC().Format(time.DateTime))
		return
	}
	if state, err := unix.Adjtimex(&unix.Timex{}); err == nil && state == unsynchronized {
		d.warn("clock", advice, "it shows %s, and the kernel does not know of anybody who sets it", now.UTC().Format(time.DateTime))
		return
	}
	d.ok("clock", "%s UTC", now.UTC().Format(time.DateTime))
}

// underUnit reports whether a process belongs to a service of systemd: its control
// group is named like one.
func underUnit(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasSuffix(strings.TrimSpace(line), ".service") {
			return true
		}
	}
	return false
}

// stateRoom is what the state directory may come to need: the stamps of each
// channel's files, and the records of runs.
const stateRoom = 256 << 20

func (d *doctor) checkState(dir string) {
	const what = "state directory"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		d.failed(what, err, "make "+dir+", and give it to the agent's user")
		return
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err == nil {
		_, err = f.WriteString("qsync\n")
		err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		d.failed(what, err, "let the agent's user write in "+dir)
		return
	}
	free, err := room(dir)
	switch {
	case err != nil:
		d.failed(what, err, "")
	case free < stateRoom:
		d.warn(what, "make room: what is signed cannot be renewed on a full disk", "%s, with %s free", dir, term.Size(free))
	default:
		d.ok(what, "%s, with %s free", dir, term.Size(free))
	}
}

// room is how many bytes this user can still write in a directory.
func room(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("look for room in %s: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// longRotation is after how long an old key that signs no more is to be revoked.
const longRotation = 30 * 24 * time.Hour

func (d *doctor) checkKey(cfg *config.Agent) {
	_, verifier, err := readKey(cfg.Key)
	if err != nil {
		d.failed("key", err, "")
		return
	}
	d.ok("key", "%s, %s", cfg.Key, trust.KeyID(verifier))
	r := newRotation(cfg.Key)
	if there, err := exists(r.next); there || err != nil {
		d.warn("key rotation", "run qsyncd keys rotate again: it goes on where it stopped", "%s was not put in its place", r.next)
		return
	}
	info, err := os.Stat(r.old)
	if errors.Is(err, fs.ErrNotExist) {
		return
	} else if err != nil {
		d.failed("key rotation", err, "")
		return
	}
	// The time of the last change of its name.
	changed := time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix())
	if time.Since(changed) > longRotation {
		d.warn("key rotation", "qsyncd keys revoke", "the key in %s was replaced on %s and is not revoked", r.old, changed.Format(time.DateOnly))
		return
	}
	d.ok("key rotation", "the key in %s was replaced on %s; revoke it when mirrors have caught up", r.old, changed.Format(time.DateOnly))
}

// checkGuard starts the guard of a node that nobody stops, and ends it.
func (d *doctor) checkGuard(ctx context.Context) {
	err := func() error {
		program, err := os.Executable()
		if err != nil {
			return err
		}
		none := config.Channel{Database: config.Database{Kind: "files", Path: filepath.Dir(program)}, Node: config.Node{None: &struct{}{}}}
		told, err := json.Marshal(none)
		if err != nil {
			return err
		}
		g := &guard.Process{Path: program, Args: []string{os.Args[0], agent.GuardArgument}, Node: told}
		stop, err := g.Watch(ctx, 0)
		if err != nil {
			return err
		}
		return stop(false)
	}()
	if err != nil {
		d.failed("guard", err, "without it nobody lets a node go on whose agent was killed")
		return
	}
	d.ok("guard", "it starts and ends")
}
