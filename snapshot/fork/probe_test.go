package fork_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/snapshot/fork"
	"github.com/qsync/qsync/snapshot/snapshottest"
)

func TestProbe(t *testing.T) {
	for _, test := range []struct {
		name, kind string
		parent     func(t *testing.T) string
		want       string            // the ways that work
		why        map[string]string // a part of the reason, for some
	}{
		{"ext4", "rocksdb", func(t *testing.T) string { return snapshottest.Filesystem(t, "ext4", 64<<20) },
			"hardlink copy", map[string]string{"btrfs": "is not on btrfs", "reflink": "does not clone files"}},
		{"ext4", "paritydb", func(t *testing.T) string { return snapshottest.Filesystem(t, "ext4", 64<<20) },
			"copy", map[string]string{"hardlink": "change in place"}},
		{"xfs", "pebble", func(t *testing.T) string { return snapshottest.Filesystem(t, "xfs", 320<<20) },
			"reflink hardlink copy", nil},
		{"btrfs", "files", func(t *testing.T) string { return snapshottest.Filesystem(t, "btrfs", 128<<20) },
			"btrfs reflink copy", map[string]string{"btrfs": "btrfs"}},
		{"lvm", "paritydb", func(t *testing.T) string {
			return newVolumes(t, snapshottest.Filesystem(t, "ext4", 64<<20), "pool").origin
		}, "lvm copy", map[string]string{"lvm": "thin snapshot of vg0/data"}},
	} {
		t.Run(test.name+" "+test.kind, func(t *testing.T) {
			dir := filepath.Join(test.parent(t), "db")
			write(t, dir, "full/000001.sst", "x", true)
			before := tree(t, dir, kind(t, test.kind))
			findings := fork.Probe(t.Context(), dir, kind(t, test.kind))
			if got := working(findings); got != test.want {
				t.Errorf("%s work, want %s: %+v", got, test.want, findings)
			}
			for _, f := range findings {
				if f.Why == "" || !strings.Contains(f.Why, test.why[f.Name]) {
					t.Errorf("%s: it says %q, want %q", f.Name, f.Why, test.why[f.Name])
				}
			}
			if diff := cmp.Diff(before.Files, tree(t, dir, kind(t, test.kind)).Files); diff != "" {
				t.Errorf("the database was touched:\n%s", diff)
			}
			nothingLeft(t, dir)

			write(t, dir, "full/metadata", "x", false)
			write(t, dir, "full/CURRENT", "x", false)
			f, err := forker(t, "auto").Begin(t.Context(), tree(t, dir, kind(t, test.kind)))
			check(t, err)
			if first, _, _ := strings.Cut(test.want, " "); !strings.HasPrefix(f.String(), first) {
				t.Errorf("auto takes %s, the trial said %s", f, test.want)
			}
			check(t, f.Release())
		})
	}
}

func working(findings []fork.Finding) string {
	var names []string
	for _, f := range findings {
		if f.Works {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, " ")
}

// Where a database lies may differ from what is beside it.
func TestProbeOfADatabaseThatIsMounted(t *testing.T) {
	dir := snapshottest.Filesystem(t, "xfs", 320<<20)
	findings := fork.Probe(t.Context(), dir, kind(t, "rocksdb"))
	if got := working(findings); got != "copy" {
		t.Errorf("%s work, want copy alone: %+v", got, findings)
	}
	volume := filepath.Join(snapshottest.Filesystem(t, "btrfs", 128<<20), "db")
	if output, err := exec.Command("btrfs", "subvolume", "create", volume).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	findings = fork.Probe(t.Context(), volume, kind(t, "rocksdb"))
	if got := working(findings); got != "btrfs reflink copy" {
		t.Errorf("%s work, links do not go from one subvolume to another: %+v", got, findings)
	}
}

func TestProbeAfterOneThatWasKilled(t *testing.T) {
	dir := rocks(t, t.TempDir())
	scratch := filepath.Join(filepath.Dir(dir), ".qsync-probe-db")
	write(t, scratch, "000001.sst", "x", false)
	write(t, fork.Path(scratch), "files/000001.sst", "x", false)
	if got := working(fork.Probe(t.Context(), dir, kind(t, "rocksdb"))); !strings.Contains(got, "hardlink copy") {
		t.Errorf("%s work", got)
	}
	nothingLeft(t, dir)
	if _, err := os.Lstat(scratch); !os.IsNotExist(err) {
		t.Errorf("the scratch directory: %v", err)
	}
}
