package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/qsync/qsync/snapshot"
)

// Freezer freezes a control group through the kernel's cgroup.freeze. Unlike
// signals this also holds the node's children, and neither they nor their parent
// notice. Exactly one of Unit and PIDFile is set.
//
// After a process that PIDFile names has ended, another program cannot find the
// group that was frozen; by Unit it can.
type Freezer struct {
	Unit    string // a systemd unit whose control group it is
	PIDFile string // names a process whose control group it is
	// Database, if it is set, lets Quiesce notice that nothing in the group writes it.
	Database Database
	Timeout  time.Duration // for all threads to stand still, or to go on; 0 is 10 s

	mu   sync.Mutex
	held group // that Quiesce froze; it outlives the process that led to it
}

func (f *Freezer) String() string {
	if f.Unit != "" {
		return "the control group of " + f.Unit
	}
	return "the control group of the process of " + f.PIDFile
}

// Check reports whether the group is there, is the node's, and may be frozen.
func (f *Freezer) Check(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	g, err := f.find()
	if err != nil {
		return err
	}
	if err := f.check(g); err != nil {
		return err
	}
	file, err := g.openSwitch()
	if err != nil {
		return err
	}
	return file.Close()
}

// Quiesce freezes the group and returns when each of its threads stands still.
func (f *Freezer) Quiesce(ctx context.Context) error {
	ctx, cancel := within(ctx, f.Timeout, defaultTimeout, "it did not stand still")
	defer cancel()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	g, err := f.find()
	if err != nil {
		return err
	}
	if err := f.check(g); err != nil {
		return err
	}
	f.mu.Lock()
	f.held = g
	f.mu.Unlock()
	if err := g.set(ctx, true); err != nil {
		return fmt.Errorf("freeze control group %s: %w", g, err)
	}
	return g.checkPopulated()
}

// Resume thaws the group. To one that is not frozen it does nothing.
func (f *Freezer) Resume(ctx context.Context) error {
	ctx, cancel := within(ctx, f.Timeout, defaultTimeout, "it did not go on")
	defer cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.find()
	// The process may have ended or moved since; others may still be frozen.
	if f.held != "" && f.held != g {
		if thawErr := f.held.set(ctx, false); !errors.Is(thawErr, snapshot.ErrNodeGone) {
			err = errors.Join(err, thawErr)
		}
	}
	if err != nil {
		return err
	}
	if err := g.set(ctx, false); err != nil {
		return fmt.Errorf("thaw control group %s: %w", g, err)
	}
	f.held = ""
	return g.checkPopulated()
}

func (f *Freezer) find() (group, error) {
	root, err := hierarchy()
	if err != nil {
		return "", err
	}
	if f.Unit != "" {
		return groupOfUnit(root, f.Unit)
	}
	process, err := findProcess(f.PIDFile)
	if err != nil {
		return "", err
	}
	defer func() { _ = process.Release() }() // which has nothing to tell
	below, err := groupOf(strconv.Itoa(process.Pid))
	if err != nil {
		return "", err
	}
	if !filepath.IsLocal(strings.TrimPrefix(below, "/")) && below != "/" {
		return "", fmt.Errorf("the control group of process %d, %s, lies outside of what this process can see", process.Pid, below)
	}
	return group(filepath.Join(root, below)), nil
}

// check refuses a group that must not be frozen.
func (f *Freezer) check(g group) error {
	root, err := hierarchy()
	if err != nil {
		return err
	}
	own, err := groupOf("self")
	if err != nil {
		return err
	}
	below := "/" + strings.TrimPrefix(strings.TrimPrefix(string(g), root), "/")
	switch {
	case below == "/":
		return withHint(fmt.Errorf("freeze %s: it is in the root control group, which holds the whole system", f),
			"start the node as a unit, or use node: signal")
	case contains(below, own):
		return withHint(fmt.Errorf("freeze %s: its control group %s also holds qsyncd, which would freeze itself", f, g),
			"start qsyncd as a unit of its own, or use node: signal")
	}
	if err := g.checkPopulated(); err != nil {
		return err
	}
	return g.checkWriter(f.Database)
}

// checkPopulated reports ErrNodeGone if no process is left in the group.
func (g group) checkPopulated() error {
	populated, err := g.event("populated")
	if err == nil && !populated {
		err = fmt.Errorf("%w: no process is in control group %s", snapshot.ErrNodeGone, g)
	}
	return err
}
