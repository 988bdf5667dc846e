package fork

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// directory is the directory beside a database that holds its fork: on the
// same filesystem, so that files can be linked or cloned into it, and never inside
// the database, where the node would find it.
//
// As a rule the directory above belongs to the node's user, who may put something
// else in its place at any moment. So it must be ours, and what is done in it is done by its
// handle and not by its name: else that user could have the agent write and delete
// wherever a link leads.
type directory struct {
	path  string   // for other programs, and for people
	lock  *os.File // the directory itself
	steps []step   // that undo what was done outside of it, the first one last
	// remove undoes the steps and removes the directory with all it holds. If it
	// fails, what is left is for a later run, and further calls say so again.
	remove func() error
}

// What lies in the directory.
const (
	undoFile        = "undo.json" // the steps
	filesDirectory  = "files"     // the frozen files, one by one
	copyDirectory   = "copy"      // what programs are let loose on
	snapshotVolume  = "snapshot"  // a btrfs subvolume
	volumeDirectory = "volume"    // where a logical volume is mounted
	printedFile     = "printed"   // by a command that makes a fork
)

// Path is where the fork of a database lies.
func Path(db string) string {
	return filepath.Join(filepath.Dir(db), ".qsync-fork-"+filepath.Base(db))
}

// makeDirectory makes an empty fork directory for a database and locks it
// against other runs. What an earlier run left is undone and removed.
func makeDirectory(ctx context.Context, db string) (*directory, error) {
	d := &directory{path: Path(db)}
	d.remove = sync.OnceValue(d.removeNow)
	if err := os.Mkdir(d.path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the fork directory: %w", err)
	}
	lock, err := os.OpenFile(d.path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the fork directory: %w", err)
	}
	d.lock = lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: another run is taking a snapshot of this database", d.path)
		}
		return nil, fmt.Errorf("lock %s: %w", d.path, err)
	}
	err = mustBeOurs(lock)
	if err == nil {
		err = d.clear(ctx)
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("remove what an earlier run left in %s: %w", d.path, err)
	}
	return d, nil
}

func (d *directory) clear(ctx context.Context) error {
	if err := d.load(); err != nil {
		return err
	}
	if err := d.undo(ctx, 0); err != nil {
		return err
	}
	return d.removeEntries()
}

// removeEntries empties the directory.
func (d *directory) removeEntries() error {
	entries, err := os.ReadDir(d.join("."))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := d.removeAll(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) removeNow() error {
	defer d.lock.Close()
	if err := d.undo(context.Background(), 0); err != nil {
		return fmt.Errorf("remove the fork: %w", err)
	}
	if err := d.removeEntries(); err != nil {
		return fmt.Errorf("remove the fork: %w", err)
	}
	if err := ignoreNotExist(unix.Rmdir(d.path)); err != nil {
		return fmt.Errorf("remove the fork directory %s: %w", d.path, err)
	}
	return nil
}

// join is the path of what has a name in the directory, for this process only.
func (d *directory) join(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.lock.Fd(), name)
}

// named is such a path for others.
func (d *directory) named(name string) string { return filepath.Join(d.path, name) }

// mustBeOurs refuses a file that others may have made or written.
func mustBeOurs(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than user %d and is not trusted: look whether anything is mounted there, and remove it",
			f.Name(), os.Geteuid())
	}
	return nil
}

// removeAll removes what lies in the directory under a name. It does not reach
// into anything mounted there: that would be deleted where it comes from.
func (d *directory) removeAll(name string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(d.named(name)))
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	if len(mounts) > 0 {
		return fmt.Errorf("%s is still mounted: unmount it", mounts[0].Mountpoint)
	}
	return os.RemoveAll(d.join(name))
}

// cleaner makes the Clean of every forker the same: one that is configured
// today finds what another one left yesterday.
type cleaner struct{}

// Clean implements [snapshot.Forker].
func (cleaner) Clean(ctx context.Context, dir string) error {
	if _, err := os.Lstat(Path(dir)); err != nil {
		return ignoreNotExist(err)
	}
	d, err := makeDirectory(ctx, dir)
	if err != nil {
		return err
	}
	return d.remove()
}
