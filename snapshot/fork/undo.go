package fork

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// step undoes one effect that a fork has outside of its directory, or that
// removing the files there does not undo. Exactly one field is set. It does no harm
// where the effect has not come about, or is undone already. Paths are below the
// directory.
type step struct {
	Unmount   string        `json:"unmount,omitempty"`   // a mount point
	Subvolume string        `json:"subvolume,omitempty"` // a btrfs subvolume to delete
	Volume    *volume       `json:"volume,omitempty"`    // a logical volume to remove
	Command   *undoCreation `json:"command,omitempty"`
}

func (s *step) undo(ctx context.Context, dir string) error {
	for _, p := range []string{s.Unmount, s.Subvolume} {
		if p != "" && !filepath.IsLocal(p) {
			return fmt.Errorf("%s: %q lies outside of the directory", undoFile, p)
		}
	}
	switch {
	case s.Unmount != "":
		return unmount(filepath.Join(dir, s.Unmount))
	case s.Subvolume != "":
		return destroySubvolume(filepath.Join(dir, s.Subvolume))
	case s.Volume != nil:
		return s.Volume.remove(ctx)
	case s.Command != nil:
		return s.Command.run(ctx, dir)
	}
	return fmt.Errorf("%s: there is a step that this version does not know", undoFile)
}

// plan makes durable how the effects are undone that are to come next. Steps are
// undone in the order opposite to the one in which they are given.
func (d *directory) plan(steps ...step) error {
	d.steps = append(d.steps, steps...)
	if err := d.save(); err != nil {
		return err
	}
	// The directory itself may be new.
	parent, err := os.Open(filepath.Dir(d.path))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := parent.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", parent.Name(), err)
	}
	return nil
}

// undo undoes all but the first steps.
func (d *directory) undo(ctx context.Context, first int) error {
	if len(d.steps) <= first {
		return nil
	}
	for len(d.steps) > first {
		last := len(d.steps) - 1
		if err := d.steps[last].undo(ctx, d.join(".")); err != nil {
			return err
		}
		d.steps = d.steps[:last]
	}
	return d.save()
}

func (d *directory) save() error {
	b, err := json.Marshal(d.steps)
	if err != nil {
		return fmt.Errorf("note how the fork is undone: %w", err)
	}
	if err := renameio.WriteFile(d.join(undoFile), append(b, '\n'), 0o600, renameio.WithTempDir(d.join("."))); err != nil {
		return fmt.Errorf("note how the fork is undone: %w", err)
	}
	if err := d.lock.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", d.path, err)
	}
	return nil
}

func (d *directory) load() error {
	f, err := os.OpenFile(d.join(undoFile), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	if err := mustBeOurs(f); err != nil { // for there are commands in it
		return err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &d.steps); err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return nil
}

// unmount unmounts whatever is mounted at a path. What a process still uses goes
// when that process lets go of it.
func unmount(path string) error {
	for {
		mounted, err := mountinfo.Mounted(path)
		if err != nil {
			return ignoreNotExist(err)
		}
		if !mounted {
			return nil
		}
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
}
