package fork_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
	"github.com/qsync/qsync/snapshot/snapshottest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func kind(t *testing.T, name string) *database.Kind {
	t.Helper()
	k, err := database.Lookup(name)
	check(t, err)
	return k
}

func forker(t *testing.T, name string) snapshot.Forker {
	t.Helper()
	if name == "command" {
		return &fork.Command{
			CreateArgv:  []string{"sh", "-c", `cp -a "$1" "$1.view" && echo "$1.view"`, "create", "{database}"},
			ReleaseArgv: []string{"sh", "-c", `test -z "$1" || rm -r "$1"`, "release", "{fork}"},
		}
	}
	f, err := fork.New(name)
	check(t, err)
	return f
}

// write makes a file, long ago if old says so.
func write(t *testing.T, dir, path, content string, old bool) {
	t.Helper()
	p := filepath.Join(dir, path)
	check(t, os.MkdirAll(filepath.Dir(p), 0o700))
	check(t, os.WriteFile(p, []byte(content), 0o640))
	if old {
		then := time.Now().Add(-time.Hour)
		check(t, os.Chtimes(p, then, then))
	}
}

// tree lists the files of a directory as a run would.
func tree(t *testing.T, dir string, kind *database.Kind) *snapshot.Tree {
	t.Helper()
	tr := &snapshot.Tree{Dir: dir, Kind: kind}
	check(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		p, err := filepath.Rel(dir, path)
		if err != nil || kind.Class(p) == database.Foreign {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		tr.Files = append(tr.Files, snapshot.Entry{
			Path: p, Class: kind.Class(p), Mode: st.Mode & 0o777, Allocated: st.Blocks * 512, Stamp: snapshot.StampOf(&st),
		})
		return nil
	}))
	return tr
}

// read is a file of the fork up to its length at the cut.
func read(t *testing.T, f snapshot.Fork, tr *snapshot.Tree, path string) string {
	t.Helper()
	i := slices.IndexFunc(tr.Files, func(e snapshot.Entry) bool { return e.Path == path })
	if i < 0 {
		t.Fatalf("%s is not in the tree", path)
	}
	file, err := f.Open(path)
	check(t, err)
	defer file.Close()
	b, err := io.ReadAll(io.NewSectionReader(file, 0, tr.Files[i].Stamp.Size))
	check(t, err)
	return string(b)
}

const safeOptions = "[Version]\n  rocksdb_version=7.8.3\n\n[DBOptions]\n  allow_mmap_writes=false\n  recycle_log_file_num=0\n\n[CFOptions \"default\"]\n  write_buffer_size=1\n"

// rocks makes a RocksDB directory. The big file is old, the rest is new.
func rocks(t *testing.T, parent string) string {
	dir := filepath.Join(parent, "db")
	write(t, dir, "full/000007.sst", strings.Repeat("immutable", 1000), true)
	write(t, dir, "full/000006.sst", "also immutable", true)
	write(t, dir, "full/000008.sst", "just written", false)
	write(t, dir, "full/000009.log", "a log", false)
	write(t, dir, "full/CURRENT", "MANIFEST-000005\n", false)
	write(t, dir, "full/MANIFEST-000005", "manifest", false)
	write(t, dir, "full/OPTIONS-000004", safeOptions, false)
	write(t, dir, "full/parachains/db/000003.log", "another log", false)
	write(t, dir, "full/parachains/db/OPTIONS-000002", safeOptions, false)
	return dir
}

// places are where each fork works.
func places(t *testing.T) map[string]func(t *testing.T) string {
	t.Helper()
	here := func(t *testing.T) string { return t.TempDir() }
	return map[string]func(t *testing.T) string{
		"hardlink": here,
		"copy":     here,
		"auto":     here,
		"command":  here,
		"btrfs": func(t *testing.T) string {
			return snapshottest.Filesystem(t, "btrfs", 256<<20)
		},
		"btrfs of a subvolume": func(t *testing.T) string {
			parent := filepath.Join(snapshottest.Filesystem(t, "btrfs", 256<<20), "below", "volume")
			check(t, os.Mkdir(filepath.Dir(parent), 0o755))
			execute(t, "btrfs", "subvolume", "create", parent)
			return parent
		},
		"lvm on ext4": func(t *testing.T) string {
			return newVolumes(t, snapshottest.Filesystem(t, "ext4", 128<<20), "").origin
		},
		"reflink on xfs": func(t *testing.T) string {
			return snapshottest.Filesystem(t, "xfs", 320<<20)
		},
		"reflink on btrfs": func(t *testing.T) string {
			return snapshottest.Filesystem(t, "btrfs", 256<<20)
		},
		"hardlink on xfs": func(t *testing.T) string {
			return snapshottest.Filesystem(t, "xfs", 320<<20)
		},
		"copy on btrfs": func(t *testing.T) string {
			return snapshottest.Filesystem(t, "btrfs", 256<<20)
		},
	}
}

func execute(t *testing.T, argv ...string) {
	t.Helper()
	if output, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, output)
	}
}

func forkName(place string) string {
	name, _, _ := strings.Cut(place, " ")
	return name
}

// TestForkHoldsStill does to a database, after the cut, all that its engine does.
func TestForkHoldsStill(t *testing.T) {
	for place, parent := range places(t) {
		t.Run(place, func(t *testing.T) {
			dir := rocks(t, parent(t))
			f, err := forker(t, forkName(place)).Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
			check(t, err)
			defer f.Release()

			// Between begin and cut files come, go, change and are replaced.
			write(t, dir, "full/000010.sst", "new since", false)
			write(t, dir, "full/another", "another under its name", true)
			check(t, os.Rename(filepath.Join(dir, "full/another"), filepath.Join(dir, "full/000006.sst")))
			check(t, os.Remove(filepath.Join(dir, "full/000008.sst")))
			write(t, dir, "full/000007.sst", strings.Repeat("IMMUTABLE", 1000), true)
			cut := tree(t, dir, kind(t, "rocksdb"))
			check(t, f.Cut(t.Context(), cut))

			// The node goes on: it appends, renames over, deletes.
			log, err := os.OpenFile(filepath.Join(dir, "full/000009.log"), os.O_APPEND|os.O_WRONLY, 0)
			check(t, err)
			_, err = log.WriteString(" goes on")
			check(t, err)
			check(t, log.Close())
			write(t, dir, "full/CURRENT.dbtmp", "MANIFEST-000099\n", false)
			check(t, os.Rename(filepath.Join(dir, "full/CURRENT.dbtmp"), filepath.Join(dir, "full/CURRENT")))
			check(t, os.Remove(filepath.Join(dir, "full/000007.sst")))
			check(t, os.Remove(filepath.Join(dir, "full/MANIFEST-000005")))

			for path, want := range map[string]string{
				"full/000007.sst":               strings.Repeat("IMMUTABLE", 1000),
				"full/000009.log":               "a log",
				"full/000006.sst":               "another under its name",
				"full/000010.sst":               "new since",
				"full/CURRENT":                  "MANIFEST-000005\n",
				"full/MANIFEST-000005":          "manifest",
				"full/parachains/db/000003.log": "another log",
			} {
				if got := read(t, f, cut, path); got != want {
					t.Errorf("%s is %.40q, want %.40q", path, got, want)
				}
			}
			for _, e := range cut.Files {
				if e.Held == (snapshot.Stamp{}) || !e.Held.SameContent(e.Stamp) {
					t.Errorf("%s: held as %+v, at the cut it was %+v", e.Path, e.Held, e.Stamp)
				}
			}
			check(t, f.Release())
			check(t, f.Release())
			nothingLeft(t, dir)
			t.Log(f)
		})
	}
}

// What engines write in place must not show through.
func TestMutableFilesAreFrozen(t *testing.T) {
	for _, test := range []struct{ place, kind, mutable string }{
		{"copy", "paritydb", "full/table_00_0"},
		{"reflink on xfs", "paritydb", "full/table_00_0"},
		{"reflink on btrfs", "files", "any/thing"},
		{"copy", "files", "any/thing"},
		{"hardlink", "pebble", "full/000004.log"}, // recycled
		{"auto", "pebble", "full/000004.log"},
		{"auto", "paritydb", "full/table_00_0"},
		{"btrfs", "paritydb", "full/table_00_0"},
		{"lvm on ext4", "paritydb", "full/table_00_0"},
		{"command", "paritydb", "full/table_00_0"},
	} {
		t.Run(test.kind+" by "+test.place, func(t *testing.T) {
			dir := filepath.Join(places(t)[test.place](t), "db")
			write(t, dir, test.mutable, "as at the cut", true)
			f, err := forker(t, forkName(test.place)).Begin(t.Context(), tree(t, dir, kind(t, test.kind)))
			check(t, err)
			defer f.Release()
			cut := tree(t, dir, kind(t, test.kind))
			check(t, f.Cut(t.Context(), cut))
			file, err := os.OpenFile(filepath.Join(dir, test.mutable), os.O_WRONLY, 0)
			check(t, err)
			_, err = file.WriteAt([]byte("rewritten"), 0)
			check(t, err)
			check(t, file.Close())
			if got := read(t, f, cut, test.mutable); got != "as at the cut" {
				t.Errorf("the fork shows %q", got)
			}
		})
	}
}

func TestHardlinkGoesByTheNewestOptions(t *testing.T) {
	const mmap = "[DBOptions]\n  recycle_log_file_num=0\n  allow_mmap_writes=true\n"
	for name, test := range map[string]struct {
		options map[string]string
		linked  bool
	}{
		"append-only":               {map[string]string{"OPTIONS-000004": safeOptions}, true},
		"logs are recycled":         {map[string]string{"OPTIONS-000004": "[DBOptions]\n  recycle_log_file_num=4\n  allow_mmap_writes=false\n"}, false},
		"written by mmap":           {map[string]string{"OPTIONS-000004": mmap}, false},
		"no options":                {nil, false},
		"options without a word":    {map[string]string{"OPTIONS-000004": "[DBOptions]\n  recycle_log_file_num=0\n"}, false},
		"word in another section":   {map[string]string{"OPTIONS-000004": "[DBOptions]\n  recycle_log_file_num=0\n[CFOptions]\n  allow_mmap_writes=false\n"}, false},
		"the newest is safe":        {map[string]string{"OPTIONS-000999": mmap, "OPTIONS-001000": safeOptions}, true},
		"the newest is not":         {map[string]string{"OPTIONS-999": safeOptions, "OPTIONS-1000": mmap}, false},
		"a newer one is unfinished": {map[string]string{"OPTIONS-000004": safeOptions, "OPTIONS-000009.dbtmp": mmap}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "db")
			write(t, dir, "full/CURRENT", "MANIFEST-000005\n", false)
			write(t, dir, "full/000009.log", "a log", false)
			write(t, dir, "full/MANIFEST-000005", "manifest", false)
			for file, content := range test.options {
				write(t, dir, "full/"+file, content, false)
			}
			f, err := forker(t, "hardlink").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
			check(t, err)
			defer f.Release()
			check(t, f.Cut(t.Context(), tree(t, dir, kind(t, "rocksdb"))))
			for _, path := range []string{"full/000009.log", "full/MANIFEST-000005"} {
				one, err := os.Stat(filepath.Join(dir, path))
				check(t, err)
				file, err := f.Open(path)
				check(t, err)
				other, err := file.Stat()
				file.Close()
				check(t, err)
				if os.SameFile(one, other) != test.linked {
					t.Errorf("%s: linked is %t, want %t", path, !test.linked, test.linked)
				}
			}
		})
	}
}

func TestHardlinkRefusesWhatChangesInPlace(t *testing.T) {
	for _, name := range []string{"paritydb", "files"} {
		dir := filepath.Join(t.TempDir(), "db")
		write(t, dir, "full/metadata", "x", false)
		_, err := forker(t, "hardlink").Begin(t.Context(), tree(t, dir, kind(t, name)))
		if err == nil || !strings.Contains(err.Error(), "change in place") {
			t.Errorf("hardlink of %s: %v", name, err)
		}
		if _, err := os.Lstat(fork.Path(dir)); !os.IsNotExist(err) {
			t.Errorf("hardlink of %s left its directory: %v", name, err)
		}
	}
}

func TestAutoSaysWhichAndWhy(t *testing.T) {
	for _, test := range []struct {
		filesystem, kind string
		want             []string
	}{
		{"ext4", "rocksdb", []string{"hardlink", "does not clone files"}},
		{"ext4", "paritydb", []string{"copy", "is not on btrfs", "does not clone files", "change in place", "lvm: "}},
		{"xfs", "rocksdb", []string{"reflink"}},
		{"btrfs", "paritydb", []string{"btrfs, the best there is"}},
	} {
		t.Run(test.kind+" on "+test.filesystem, func(t *testing.T) {
			dir := filepath.Join(snapshottest.Filesystem(t, test.filesystem, 320<<20), "db")
			write(t, dir, "full/CURRENT", "x", false)
			write(t, dir, "full/metadata", "x", false)
			f, err := forker(t, "auto").Begin(t.Context(), tree(t, dir, kind(t, test.kind)))
			check(t, err)
			defer f.Release()
			if !strings.HasPrefix(f.String(), test.want[0]) {
				t.Errorf("auto took %s, want %s", f, test.want[0])
			}
			for _, part := range test.want {
				if !strings.Contains(f.String(), part) {
					t.Errorf("%q does not say %q", f, part)
				}
			}
		})
	}
}

func TestForksKeepHoles(t *testing.T) {
	const size = 64 << 20
	for place, parent := range places(t) {
		t.Run(place, func(t *testing.T) {
			dir := filepath.Join(parent(t), "db")
			write(t, dir, "full/CURRENT", "x", false)
			write(t, dir, "full/000001.sst", "begin", true)
			p := filepath.Join(dir, "full/000001.sst")
			check(t, os.Truncate(p, size))
			file, err := os.OpenFile(p, os.O_WRONLY, 0)
			check(t, err)
			_, err = file.WriteAt([]byte("middle"), size/2)
			check(t, err)
			check(t, file.Close())

			f, err := forker(t, forkName(place)).Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
			check(t, err)
			defer f.Release()
			cut := tree(t, dir, kind(t, "rocksdb"))
			check(t, f.Cut(t.Context(), cut))
			want, err := os.ReadFile(p)
			check(t, err)
			if got := read(t, f, cut, "full/000001.sst"); !bytes.Equal([]byte(got), want) {
				t.Error("the fork has other content")
			}
			forked, err := f.Open("full/000001.sst")
			check(t, err)
			defer forked.Close()
			var st unix.Stat_t
			check(t, unix.Fstat(int(forked.Fd()), &st))
			if on := st.Blocks * 512; on > 1<<20 {
				t.Errorf("the fork of a file with two blocks takes %d bytes", on)
			}
		})
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := rocks(t, t.TempDir())
	write(t, fork.Path(dir), "full/000007.sst", "of an earlier run", false)
	write(t, fork.Path(dir), "full/999999.sst", "of an earlier run", false)
	f, err := forker(t, "hardlink").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	check(t, err)
	cut := tree(t, dir, kind(t, "rocksdb"))
	check(t, f.Cut(t.Context(), cut))
	if _, err := f.Open("full/999999.sst"); !os.IsNotExist(err) {
		t.Errorf("a leftover is in the fork: %v", err)
	}
	_, err = forker(t, "copy").Begin(t.Context(), cut)
	if err == nil || !strings.Contains(err.Error(), "another run") {
		t.Errorf("a second fork of the database: %v", err)
	}
	if got := read(t, f, cut, "full/000009.log"); got != "a log" {
		t.Errorf("the second run has taken the first one's files: %q", got)
	}
	check(t, f.Release())
}

func TestCopyNeedsRoom(t *testing.T) {
	dir := filepath.Join(snapshottest.Filesystem(t, "ext4", 32<<20), "db")
	write(t, dir, "full/metadata", strings.Repeat("x", 20<<20), false)
	_, err := forker(t, "copy").Begin(t.Context(), tree(t, dir, kind(t, "paritydb")))
	if err == nil || !strings.Contains(err.Error(), "needs 20 MiB") {
		t.Errorf("copy without room: %v", err)
	}
}

func TestCancelledBeginLeavesNothing(t *testing.T) {
	for _, name := range []string{"copy", "hardlink", "auto"} {
		dir := rocks(t, t.TempDir())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		f, err := forker(t, name).Begin(ctx, tree(t, dir, kind(t, "rocksdb")))
		if err == nil { // hardlink does nothing long before the cut
			err = f.Cut(ctx, tree(t, dir, kind(t, "rocksdb")))
			check(t, f.Release())
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(fork.Path(dir)); !os.IsNotExist(err) {
			t.Errorf("%s left its directory: %v", name, err)
		}
	}
}

// A database that is the root of a mount cannot be linked into its parent.
func TestMountedDatabase(t *testing.T) {
	dir := snapshottest.Filesystem(t, "ext4", 32<<20)
	write(t, dir, "full/CURRENT", "x", false)
	defer os.Remove(fork.Path(dir))
	_, err := forker(t, "hardlink").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	if err == nil || !strings.Contains(err.Error(), "is another filesystem or subvolume than the directory it lies in") {
		t.Errorf("hardlink: %v", err)
	}
	f, err := forker(t, "auto").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	check(t, err)
	if !strings.HasPrefix(f.String(), "copy, because btrfs: ") {
		t.Errorf("auto took %s", f)
	}
	check(t, f.Release())
}

// A file that changes while the node should stand still is no cut.
func TestChangeInThePauseIsAnError(t *testing.T) {
	for _, place := range []string{"hardlink", "copy", "command", "btrfs", "lvm on ext4"} {
		t.Run(place, func(t *testing.T) {
			dir := rocks(t, places(t)[place](t))
			f, err := forker(t, forkName(place)).Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
			check(t, err)
			cut := tree(t, dir, kind(t, "rocksdb"))
			write(t, dir, "full/000009.log", "a log and more", false)
			if err := f.Cut(t.Context(), cut); err == nil || !strings.Contains(err.Error(), "full/000009.log: it changed in the pause") {
				t.Errorf("Cut = %v", err)
			}
			check(t, f.Release())
			nothingLeft(t, dir)
		})
	}
}

// nothingLeft looks for what a fork might have left.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Lstat(fork.Path(dir)); !os.IsNotExist(err) {
		t.Errorf("the fork directory is still there: %v", err)
	}
	beside, err := os.ReadDir(filepath.Dir(dir))
	check(t, err)
	for _, e := range beside {
		if e.Name() != filepath.Base(dir) && e.Name() != "lost+found" {
			t.Errorf("%s was left beside the database", e.Name())
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	check(t, err)
	if strings.Contains(string(mounts), fork.Path(dir)) {
		t.Errorf("something is mounted in the fork directory:\n%s", mounts)
	}
	var fsys unix.Statfs_t
	check(t, unix.Statfs(dir, &fsys))
	if fsys.Type == unix.BTRFS_SUPER_MAGIC {
		list, err := exec.CommandContext(t.Context(), "btrfs", "subvolume", "list", dir).Output()
		check(t, err)
		if strings.Contains(string(list), ".qsync") {
			t.Errorf("a subvolume is left:\n%s", list)
		}
	}
	if os.Getenv(volumesStore) != "" {
		left, err := os.ReadDir(os.Getenv(volumesStore))
		check(t, err)
		for _, e := range left {
			t.Errorf("the logical volume %s is left", e.Name())
		}
	}
}
