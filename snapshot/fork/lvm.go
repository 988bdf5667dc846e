package fork

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"

	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/program"
)

// lvm makes a snapshot of the logical volume that the database lies on, and
// mounts it read-only. A thin volume gets a thin snapshot.
type lvm struct{ cleaner }

func (lvm) String() string { return "lvm" }

func (lvm) Begin(ctx context.Context, db *snapshot.Tree) (_ snapshot.Fork, err error) {
	origin, err := placeOf(ctx, db.Dir)
	if err != nil {
		return nil, err
	}
	dir, err := makeDirectory(ctx, db.Dir)
	if err != nil {
		return nil, err
	}
	f := &volumeFork{view: view{dir: dir}, origin: origin, snapshot: snapshotVolumeOf(origin, dir)}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Release())
		}
	}()
	if err := f.snapshot.snapshotOf(ctx, &origin.volume, true); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir.join(volumeDirectory), 0o700); err != nil {
		return nil, err
	}
	if err := dir.plan(step{Volume: &f.snapshot}, step{Unmount: volumeDirectory}); err != nil {
		return nil, err
	}
	return f, flush(ctx, db.Dir)
}

// snapshotVolumeOf names the snapshot for a fork: always the same, and another
// one for another database on the same volume.
func snapshotVolumeOf(origin *place, dir *directory) volume {
	sum := sha256.Sum256([]byte(dir.path))
	return volume{Group: origin.volume.Group, Name: "qsync-" + hex.EncodeToString(sum[:6])}
}

type volumeFork struct {
	view
	origin   *place
	snapshot volume
}

func (f *volumeFork) Cut(ctx context.Context, db *snapshot.Tree) error {
	// What the node wrote last may be in memory only. LVM freezes the filesystem,
	// and that writes it too; here nobody but the node waits meanwhile.
	if err := flush(ctx, db.Dir); err != nil {
		return err
	}
	if err := f.snapshot.snapshotOf(ctx, &f.origin.volume, false); err != nil {
		return err
	}
	if err := stood(ctx, "lvm", db); err != nil {
		return err
	}
	mount := program.Program{
		Argv: []string{"mount", "-t", f.origin.filesystem, "-o", mountOptions(f.origin.filesystem),
			filepath.Join("/dev", f.snapshot.Group, f.snapshot.Name), f.dir.named(volumeDirectory)},
		Timeout: volumeTimeout,
	}
	if err := mount.Run(ctx); err != nil {
		return err
	}
	return f.show(filepath.Join(f.dir.join(volumeDirectory), f.origin.path))
}

func (f *volumeFork) String() string {
	if f.origin.volume.Pool != "" {
		return "lvm (thin snapshot of " + f.origin.volume.String() + ")"
	}
	return "lvm (snapshot of " + f.origin.volume.String() + ")"
}
