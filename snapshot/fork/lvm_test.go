package fork_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot/fork"
	"github.com/qsync/qsync/snapshot/snapshottest"
)

// volumesStore names the directory that holds the snapshots of the doubles.
const volumesStore = "QSYNC_TEST_LVM_STORE"

// volumes stands for LVM, which needs a kernel with device-mapper: the programs in
// testdata/lvm take the same words, and say the same, as version 2.03.16.
type volumes struct {
	origin, store, log string
}

// newVolumes makes the filesystem mounted at origin one on a logical volume, that
// is thin in a pool unless this is empty.
func newVolumes(t *testing.T, origin, pool string) *volumes {
	t.Helper()
	v := &volumes{origin: origin, store: t.TempDir(), log: filepath.Join(t.TempDir(), "log")}
	doubles, err := filepath.Abs("testdata/lvm")
	check(t, err)
	for name, value := range map[string]string{
		"QSYNC_TEST_LVM_MOUNT":  require.Tool(t, "mount"),
		"QSYNC_TEST_LVM_ORIGIN": v.origin,
		"QSYNC_TEST_LVM_LOG":    v.log,
		"QSYNC_TEST_LVM_POOL":   pool,
		volumesStore:            v.store,
		"PATH":                  doubles + ":" + os.Getenv("PATH"),
	} {
		t.Setenv(name, value)
	}
	return v
}

// asked is what was asked of the doubles, with N for the name of the snapshot.
func (v *volumes) asked(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(v.log)
	check(t, err)
	text := regexp.MustCompile(`qsync-[0-9a-f]{12}`).ReplaceAllString(string(b), "N")
	text = regexp.MustCompile(`major=\d+ && lv_kernel_minor=\d+`).ReplaceAllString(text, "D")
	text = strings.ReplaceAll(text, v.origin, "ORIGIN")
	return strings.Split(strings.TrimSpace(text), "\n")
}

func TestVolumeSnapshot(t *testing.T) {
	const (
		lvs     = "lvs --reportformat json --options vg_name,lv_name,pool_lv --select "
		ours    = lvs + `vg_name="vg0" && lv_name="N" && lv_tags="qsync"`
		classic = "lvcreate --yes --snapshot --name N --addtag qsync --extents 20%ORIGIN"
		thin    = "lvcreate --yes --snapshot --name N --addtag qsync --setactivationskip n"
	)
	for _, test := range []struct {
		filesystem, pool, says string
		create, mount          string
	}{
		{"ext4", "", "lvm (snapshot of vg0/data)", classic, "mount -t ext4 -o ro,nodev,nosuid "},
		{"xfs", "pool", "lvm (thin snapshot of vg0/data)", thin, "mount -t xfs -o ro,nodev,nosuid,nouuid "},
	} {
		t.Run(test.filesystem, func(t *testing.T) {
			v := newVolumes(t, snapshottest.Filesystem(t, test.filesystem, 320<<20), test.pool)
			dir := rocks(t, filepath.Join(v.origin, "chains", "polkadot"))
			f, err := forker(t, "lvm").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
			check(t, err)
			cut := tree(t, dir, kind(t, "rocksdb"))
			check(t, f.Cut(t.Context(), cut))
			if f.String() != test.says {
				t.Errorf("it says %q, want %q", f, test.says)
			}
			write(t, dir, "full/000009.log", "another", false)
			if got := read(t, f, cut, "full/000009.log"); got != "a log" {
				t.Errorf("the fork shows %q", got)
			}
			check(t, f.Release())
			nothingLeft(t, dir)
			want := []string{
				lvs + "lv_kernel_D",
				test.create + " --test vg0/data",
				test.create + " vg0/data",
				test.mount + "/dev/vg0/N " + strings.Replace(fork.Path(dir), v.origin, "ORIGIN", 1) + "/volume",
				ours,
				"lvremove --yes vg0/N",
			}
			if diff := cmp.Diff(want, v.asked(t)); diff != "" {
				t.Errorf("asked of LVM (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoRoomForAVolume(t *testing.T) {
	v := newVolumes(t, snapshottest.Filesystem(t, "ext4", 64<<20), "")
	check(t, os.WriteFile(filepath.Join(v.store, ".full"), nil, 0o600))
	dir := rocks(t, filepath.Join(v.origin, "below"))
	_, err := forker(t, "lvm").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	if err == nil || !strings.Contains(err.Error(), "insufficient free space (3 extents)") {
		t.Errorf("Begin = %v", err)
	}
	check(t, os.Remove(filepath.Join(v.store, ".full")))
	nothingLeft(t, dir)
}

func TestNoVolume(t *testing.T) {
	newVolumes(t, snapshottest.Filesystem(t, "ext4", 64<<20), "")
	dir := rocks(t, t.TempDir())
	_, err := forker(t, "lvm").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	if err == nil || !strings.Contains(err.Error(), "is no logical volume") {
		t.Errorf("Begin = %v", err)
	}
	nothingLeft(t, dir)
}

// A database that cannot be linked is better forked by a volume than copied while
// its node waits; one that can be linked is not.
func TestAutoTakesAVolume(t *testing.T) {
	v := newVolumes(t, snapshottest.Filesystem(t, "ext4", 64<<20), "")
	for _, test := range []struct{ kind, want string }{{"paritydb", "lvm (snapshot"}, {"rocksdb", "hardlink"}} {
		dir := filepath.Join(v.origin, test.kind, "db")
		write(t, dir, "full/metadata", "x", false)
		write(t, dir, "full/CURRENT", "x", false)
		f, err := forker(t, "auto").Begin(t.Context(), tree(t, dir, kind(t, test.kind)))
		check(t, err)
		if !strings.HasPrefix(f.String(), test.want) {
			t.Errorf("%s: auto took %s, want %s", test.kind, f, test.want)
		}
		check(t, f.Release())
	}
}
