package fork

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot"
)

// Finding is what a trial of one way to fork has shown.
type Finding struct {
	Name  string
	Works bool
	Why   string // what the fork is like, or what is in its way
}

// Probe tries each way to fork a database, the best first: what works first is
// what auto takes. It forks a few files of its own in a directory beside the
// database dir, which must be absolute and free of symbolic links, and removes
// them. The database itself is not touched. A logical volume is only asked for
// whether it could be forked, for that would hold up all who write to it.
func Probe(ctx context.Context, dir string, kind *database.Kind) []Finding {
	scratch := filepath.Join(filepath.Dir(dir), ".qsync-probe-"+filepath.Base(dir))
	findings := make([]Finding, len(ways))
	for i, way := range ways {
		why, err := probe(ctx, way, dir, scratch, kind)
		findings[i] = Finding{Name: way.String(), Works: err == nil, Why: why}
		if err != nil {
			findings[i].Why = err.Error()
		}
	}
	return findings
}

func probe(ctx context.Context, way snapshot.Forker, dir, scratch string, kind *database.Kind) (why string, err error) {
	if way == (lvm{}) {
		return probeVolume(ctx, dir)
	}
	if way != byCopy {
		if err := sameFilesystem(dir, way == (hardlink{})); err != nil {
			return "", err
		}
	}
	if err := way.Clean(ctx, scratch); err != nil { // of a trial that was killed
		return "", err
	}
	if err := os.RemoveAll(scratch); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if err := makeScratch(scratch, kind); err != nil {
		return "", err
	}
	db, err := lookAtScratch(scratch, kind)
	if err != nil {
		return "", err
	}
	f, err := way.Begin(ctx, db)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Release()) }()
	if db, err = lookAtScratch(scratch, kind); err != nil { // links have changed the files' times
		return "", err
	}
	if err := f.Cut(ctx, db); err != nil {
		return "", err
	}
	for _, e := range db.Files {
		if err := holds(f, e.Path); err != nil {
			return "", err
		}
	}
	return f.String(), nil
}

// sameFilesystem reports why what lies in the directory of the database cannot be
// forked into the one beside it. The scratch directory would not show that.
func sameFilesystem(dir string, link bool) error {
	parent := filepath.Dir(dir)
	inner, err := mountOf(dir)
	if err != nil {
		return err
	}
	outer, err := mountOf(parent)
	if err != nil {
		return err
	}
	same := inner.Major == outer.Major && inner.Minor == outer.Minor
	if link && same {
		var one, other unix.Stat_t
		if err := errors.Join(unix.Stat(dir, &one), unix.Stat(parent, &other)); err != nil {
			return fmt.Errorf("stat %s and %s: %w", dir, parent, err)
		}
		same = inner.ID == outer.ID && one.Dev == other.Dev
	}
	if !same {
		return fmt.Errorf("%s is another filesystem, mount or subvolume than the directory it lies in", dir)
	}
	return nil
}

// scratchNames are such that each kind of database has some of them.
var scratchNames = []string{"000001.sst", "000002.log", "CURRENT", "metadata", "table_00_0"}

func makeScratch(dir string, kind *database.Kind) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, name := range scratchNames {
		if kind.Class(name) == database.Foreign {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// lookAtScratch lists the files as a run would.
func lookAtScratch(dir string, kind *database.Kind) (*snapshot.Tree, error) {
	db := &snapshot.Tree{Dir: dir, Kind: kind}
	for _, name := range scratchNames {
		class := kind.Class(name)
		if class == database.Foreign {
			continue
		}
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			return nil, fmt.Errorf("stat %s in %s: %w", name, dir, err)
		}
		db.Files = append(db.Files, snapshot.Entry{Path: name, Class: class, Mode: 0o600, Allocated: st.Blocks * 512, Stamp: snapshot.StampOf(&st)})
	}
	return db, nil
}

// holds reports an error unless the fork has a scratch file, which holds its name.
func holds(f snapshot.Fork, name string) error {
	file, err := f.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, int64(len(name))))
	if err != nil {
		return err
	}
	if string(b) != name {
		return fmt.Errorf("the fork of %s holds %q", name, b)
	}
	return nil
}

func probeVolume(ctx context.Context, dir string) (string, error) {
	origin, err := placeOf(ctx, dir)
	if err != nil {
		return "", err
	}
	f := &volumeFork{origin: origin, snapshot: snapshotVolumeOf(origin, &directory{path: Path(dir)})}
	return f.String(), f.snapshot.snapshotOf(ctx, &origin.volume, true)
}
