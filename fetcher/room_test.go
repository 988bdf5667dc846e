package fetcher_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/scripts/require"
)

// extraRoom is the reach of what a restore may take on the target's filesystem
// beside the database itself and the index.
const extraRoom = 64 * mib

// TestRoom watches the filesystem of the target during a restore: its use never
// passes that of the old or the new database by more than extraRoom.
func TestRoom(t *testing.T) { bothLayouts(t, testRoom) }

func testRoom(t *testing.T, p *publisher) {
	require.Root(t)
	parent := t.TempDir()
	check(t, unix.Mount("tmpfs", parent, "tmpfs", 0, "size=1G"))
	t.Cleanup(func() { check(t, unix.Unmount(parent, 0)) })

	first, second := files{}, files{}
	for i := range 8 {
		name := string(rune('a' + i))
		first[name], second[name] = random(uint64(i), 24*mib), random(uint64(i), 24*mib)
	}
	delete(second, "a")                       // goes
	second["z"] = random(100, 24*mib)         // comes
	second["moved"] = first["b"]              // is the same under another name
	delete(second, "b")                       //
	copy(second["c"][5*mib:], random(101, 9)) // has changed in one place
	second["d"] = random(102, 24*mib)         // is all new
	second["e"] = second["e"][:20*mib]        // is shorter
	target := filepath.Join(parent, "db")

	p.publish("20261121-040002", first)
	m := p.publish("20261122-040003", second)
	for _, step := range []struct {
		name, version string
		inPlace       bool
		index         manifest.Ref
	}{
		{"fresh", "20261121-040002", false, m.Index},
		{"in place", "20261122-040003", true, m.Index},
	} {
		t.Run(step.name, func(t *testing.T) {
			opts := options(p, target)
			opts.Version, opts.InPlace = step.version, step.inPlace
			before := used(t, parent)
			peak := watch(t, parent)
			mustRun(t, opts)
			extra := peak() - max(before, used(t, parent))
			t.Logf("%d KiB of extra room", extra>>10)
			if extra > extraRoom+step.index.Size {
				t.Errorf("the restore took %d MiB beside the database", extra/mib)
			}
			if step.name == "in place" {
				sameContent(t, content(t, target), second)
			}
		})
	}
}

func used(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	check(t, unix.Statfs(dir, &st))
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// watch samples how much of a filesystem is used until the returned function is
// called, which gives the most it saw.
func watch(t *testing.T, dir string) (peak func() int64) {
	t.Helper()
	most := used(t, dir)
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var st unix.Statfs_t
				if unix.Statfs(dir, &st) == nil {
					most = max(most, int64(st.Blocks-st.Bfree)*st.Bsize)
				}
			}
		}
	})
	return func() int64 {
		close(stop)
		watching.Wait()
		return most
	}
}
