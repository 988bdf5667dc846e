package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
)

// group is the directory of a control group, version 2.
type group string

// hierarchy is where the control groups are mounted. Beside version 1 it is not
// where version 2 alone would be.
func hierarchy() (string, error) {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		is := m.FSType == "cgroup2" && m.Root == "/"
		return !is, is
	})
	if err != nil {
		return "", fmt.Errorf("find the control groups: %w", err)
	}
	if len(mounts) == 0 {
		return "", withHint(errors.New("find the control groups: no hierarchy of version 2 is mounted here"),
			"use node: signal, or docker or systemd with mode: stop")
	}
	return mounts[0].Mountpoint, nil
}

// groupOf is the control group of a process, as a path below the hierarchy.
func groupOf(pid string) (string, error) {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "cgroup"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return "", fmt.Errorf("%w: process %s has ended", snapshot.ErrNodeGone, pid)
	} else if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(p, "\n"), nil
		}
	}
	return "", fmt.Errorf("process %s is in no control group of version 2", pid)
}

// groupOfUnit finds the control group of a unit where the service manager puts
// it: below slices only, so that what a container or a session names alike is not
// taken for it.
func groupOfUnit(root, unit string) (group, error) {
	var found group
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // a group that ended meanwhile
		case err != nil || !e.IsDir() || p == root:
			return err
		case e.Name() == unit:
			found = group(p)
			return fs.SkipAll
		case path.Ext(e.Name()) != ".slice":
			return fs.SkipDir
		}
		return nil
	})
	if err == nil && found == "" {
		err = fmt.Errorf("%w: unit %s has no control group below %s, so it does not run", snapshot.ErrNodeGone, unit, root)
	}
	return found, err
}

// contains reports whether a group, as a path below the hierarchy, is the other
// one or lies below it.
func contains(outer, inner string) bool {
	return outer == "/" || inner == outer || strings.HasPrefix(inner, outer+"/")
}

// event is what cgroup.events says of a key.
func (g group) event(key string) (bool, error) {
	b, err := os.ReadFile(filepath.Join(string(g), "cgroup.events"))
	if err != nil {
		return false, g.gone(err)
	}
	for line := range strings.Lines(string(b)) {
		if k, v, _ := strings.Cut(strings.TrimSpace(line), " "); k == key {
			return v == "1", nil
		}
	}
	return false, fmt.Errorf("control group %s: cgroup.events does not say whether it is %s", g, key)
}

// set freezes the group and all below it, or thaws them, and waits until it is so.
func (g group) set(ctx context.Context, frozen bool) error {
	f, err := g.openSwitch()
	if err != nil {
		return err
	}
	defer f.Close()
	word := "0"
	if frozen {
		word = "1"
	}
	if _, err := f.WriteString(word); err != nil {
		return g.gone(err)
	}
	return until(ctx, func() (bool, error) {
		is, err := g.event("frozen")
		return is == frozen, err
	})
}

// openSwitch opens the file that freezes the group, and changes nothing yet.
func (g group) openSwitch() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(string(g), "cgroup.freeze"), os.O_WRONLY, 0)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, withHint(err, "run qsyncd as root, or let its user write this file")
	case errors.Is(err, fs.ErrNotExist):
		if _, there := os.Stat(string(g)); there == nil {
			return nil, withHint(fmt.Errorf("control group %s cannot be frozen: %w", g, err), "Linux 5.2 or newer is needed; else use node: signal")
		}
	}
	return f, g.gone(err)
}

// gone marks the errors that a group that was removed gives.
func (g group) gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w: %w", snapshot.ErrNodeGone, err)
	}
	return err
}

// pids are the processes in the group and below it.
func (g group) pids() ([]int, error) {
	var pids []int
	err := filepath.WalkDir(string(g), func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return ignoreEnded(err)
		}
		b, err := os.ReadFile(filepath.Join(p, "cgroup.procs"))
		if errors.Is(err, unix.ENOTSUP) {
			return nil // a group of threads, whose processes an outer group lists
		}
		for word := range bytes.FieldsSeq(b) {
			pid, err := strconv.Atoi(string(word))
			if err != nil {
				return fmt.Errorf("read %s/cgroup.procs: %q is not the number of a process", p, word)
			}
			if pid > 0 { // 0 is one that this process's namespace has no number for
				pids = append(pids, pid)
			}
		}
		return ignoreEnded(err)
	})
	return pids, err
}

func ignoreEnded(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// checkWriter refuses a group that is known not to hold the database's node.
func (g group) checkWriter(d Database) error {
	pids, err := g.pids()
	if err != nil {
		return err
	}
	open, err := d.isOpenIn(pids...)
	if err == nil && !open {
		err = withHint(fmt.Errorf("no process of control group %s has the database %s open", g, d.Path),
			"name the unit or the process that writes the database")
	}
	return err
}
