package fork

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/qsync/qsync/snapshot/program"
)

// volumeTimeout is how long one of LVM's programs may take.
const volumeTimeout = 2 * time.Minute

// volumeTag marks the logical volumes that are ours. No other is ever removed.
const volumeTag = "qsync"

// volume is a logical volume.
type volume struct {
	Group string `json:"vg_name"`
	Name  string `json:"lv_name"`
	Pool  string `json:"pool_lv,omitempty"` // that it is thin in; empty for a classic volume
}

func (v *volume) String() string { return v.Group + "/" + v.Name }

// volumes lists the logical volumes that a selection (man lvmreport) names.
func volumes(ctx context.Context, selection string) ([]volume, error) {
	out, err := program.Program{
		Argv:    []string{"lvs", "--reportformat", "json", "--options", "vg_name,lv_name,pool_lv", "--select", selection},
		Timeout: volumeTimeout,
	}.Output(ctx)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Report []struct {
			Volumes []volume `json:"lv"`
		} `json:"report"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("read what lvs says: %w", err)
	}
	if len(answer.Report) != 1 {
		return nil, fmt.Errorf("read what lvs says: it has %d reports, want one", len(answer.Report))
	}
	return answer.Report[0].Volumes, nil
}

// snapshotOf makes v a snapshot of another volume. A classic one has room for a
// fifth of its origin to be overwritten while it exists; beyond that it becomes
// unreadable, and so does the fork. With test nothing is changed.
func (v *volume) snapshotOf(ctx context.Context, origin *volume, test bool) error {
	argv := []string{"lvcreate", "--yes", "--snapshot", "--name", v.Name, "--addtag", volumeTag}
	if origin.Pool == "" {
		argv = append(argv, "--extents", "20%ORIGIN")
	} else {
		argv = append(argv, "--setactivationskip", "n")
	}
	if test {
		argv = append(argv, "--test")
	}
	return (&program.Program{Argv: append(argv, origin.String()), Timeout: volumeTimeout}).Run(ctx)
}

// remove removes the volume if it is there.
func (v *volume) remove(ctx context.Context) error {
	ours, err := volumes(ctx, fmt.Sprintf("vg_name=%q && lv_name=%q && lv_tags=%q", v.Group, v.Name, volumeTag))
	if err != nil || len(ours) == 0 {
		return err
	}
	return (&program.Program{Argv: []string{"lvremove", "--yes", v.String()}, Timeout: volumeTimeout}).Run(ctx)
}

// place is where a directory lies on a logical volume.
type place struct {
	volume     volume
	filesystem string // its type
	path       string // from the root of the filesystem
}

func placeOf(ctx context.Context, dir string) (*place, error) {
	if _, err := exec.LookPath("lvs"); err != nil {
		return nil, fmt.Errorf("LVM is not installed: %w", err)
	}
	mount, err := mountOf(dir)
	if err != nil {
		return nil, err
	}
	found, err := volumes(ctx, fmt.Sprintf("lv_kernel_major=%d && lv_kernel_minor=%d", mount.Major, mount.Minor))
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%s, which is mounted at %s, is no logical volume", mount.Source, mount.Mountpoint)
	}
	below, err := filepath.Rel(mount.Mountpoint, dir)
	if err != nil {
		return nil, err
	}
	return &place{volume: found[0], filesystem: mount.FSType, path: filepath.Join(mount.Root, below)}, nil
}

// mountOf is the mount that a directory lies on. Its path is absolute and has no
// symbolic links.
func mountOf(dir string) (*mountinfo.Info, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var deepest *mountinfo.Info
	for _, m := range mounts {
		// Of several at the same place the last one is what is seen.
		if deepest == nil || len(m.Mountpoint) >= len(deepest.Mountpoint) {
			deepest = m
		}
	}
	if deepest == nil {
		return nil, errors.New("find the mount of " + dir + ": there is none")
	}
	return deepest, nil
}

// mountOptions are those to mount a snapshot of a filesystem with, beside the
// filesystem itself. It has the journal of one that was mounted, and may write to
// its snapshot to replay it.
func mountOptions(filesystem string) string {
	options := []string{"ro", "nodev", "nosuid"}
	if filesystem == "xfs" {
		options = append(options, "nouuid")
	}
	return strings.Join(options, ",")
}
