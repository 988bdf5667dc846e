package fetcher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cockroachdb/pebble/v2"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/scripts/require"
)

// interrupt runs a restore that is cancelled after so many bytes.
func interrupt(t *testing.T, p *publisher, opts fetcher.Options, after int64) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := &stopper{Source: openSource(t, p.base), after: after, cancel: cancel}
	opts.Repository = p.repository(stop)
	opts.Jobs = 1
	if _, err := fetcher.Run(ctx, opts); !errors.Is(err, errStopped) {
		t.Fatalf("error is %v", err)
	}
}

// TestDamagedWork damages what an interrupted restore left, in every way that a
// crash of the machine can. The next run finds out and the result is exact.
func TestDamagedWork(t *testing.T) { bothLayouts(t, testDamagedWork) }

func testDamagedWork(t *testing.T, p *publisher) {
	want := sampleFiles()
	p.publish("20261122-040003", want)
	damages := map[string]func(t *testing.T, work string){
		"journal torn":       func(t *testing.T, work string) { truncateBy(t, filepath.Join(work, "journal"), 7) },
		"journal damaged":    func(t *testing.T, work string) { flip(t, filepath.Join(work, "journal"), 200) },
		"journal header":     func(t *testing.T, work string) { flip(t, filepath.Join(work, "journal"), 30) },
		"journal gone":       func(t *testing.T, work string) { check(t, os.Remove(filepath.Join(work, "journal"))) },
		"manifest torn":      func(t *testing.T, work string) { truncateBy(t, filepath.Join(work, "manifest.json"), 7) },
		"index torn":         func(t *testing.T, work string) { truncateBy(t, filepath.Join(work, "index"), 7) },
		"file gone":          func(t *testing.T, work string) { check(t, os.Remove(filepath.Join(work, "tree/full/000001.sst"))) },
		"file of other size": func(t *testing.T, work string) { truncateBy(t, filepath.Join(work, "tree/full/empty"), -5) },
		"file cut short": func(t *testing.T, work string) {
			check(t, os.Truncate(filepath.Join(work, "tree/full/000001.sst"), 3*mib+5))
		},
		"tree gone": func(t *testing.T, work string) { check(t, os.RemoveAll(filepath.Join(work, "tree"))) },
		"file linked away": func(t *testing.T, work string) {
			check(t, os.Link(filepath.Join(work, "tree/full/000001.sst"), filepath.Join(work, "tree/other")))
		},
		"written but not on disk": func(t *testing.T, work string) {
			// What a power cut leaves of chunks that were not synced: zeros. A
			// clean stop had synced them, so the durable marks go too.
			dropDurable(t, filepath.Join(work, "journal"))
			f := filepath.Join(work, "tree/full/000001.sst")
			size := int64(len(want["full/000001.sst"]))
			check(t, os.Truncate(f, 2<<20))
			check(t, os.Truncate(f, size))
		},
	}
	for name, damage := range damages {
		for _, soon := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stopped soon again=%t", name, soon), func(t *testing.T) {
				target := filepath.Join(t.TempDir(), "db")
				interrupt(t, p, options(p, target), 9*mib)
				damage(t, target+".qsync-partial")
				if soon {
					// It has made its files and fetched next to nothing.
					interrupt(t, p, options(p, target), 0)
				}
				mustRun(t, options(p, target))
				sameContent(t, content(t, target), want)
			})
		}
	}
}

// TestDamagedTargetInPlace takes files of a target away, or gives them a second
// name, while a restore in place rests; then it is stopped once more.
func TestDamagedTargetInPlace(t *testing.T) {
	p := newPublisher(t)
	want := sampleFiles()
	p.publish("20261122-040003", want)
	for name, damage := range map[string]func(t *testing.T, file string){
		"gone":        func(t *testing.T, file string) { check(t, os.Remove(file)) },
		"cut short":   func(t *testing.T, file string) { check(t, os.Truncate(file, 3*mib+5)) },
		"linked away": func(t *testing.T, file string) { check(t, os.Link(file, filepath.Join(t.TempDir(), "other"))) },
	} {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "db")
			opts := options(p, target)
			opts.InPlace = true
			interrupt(t, p, opts, 9*mib)
			damage(t, filepath.Join(target, "full/000001.sst"))
			interrupt(t, p, opts, 0)
			mustRun(t, opts)
			sameContent(t, content(t, target), want)
		})
	}
}

func truncateBy(t *testing.T, path string, n int64) {
	t.Helper()
	info, err := os.Stat(path)
	check(t, err)
	check(t, os.Truncate(path, info.Size()-n))
}

// swapNote is what stands in the work directory when a directory that holds a
// snapshot is about to become the target.
func swapNote(t *testing.T, dir string, snapshot manifest.Digest) []byte {
	t.Helper()
	info, err := os.Stat(dir)
	check(t, err)
	return fmt.Appendln(nil, info.Sys().(*syscall.Stat_t).Ino, snapshot)
}

// TestKilledAroundTheSwap starts again from each state that a kill can leave
// around the exchange of the two directories.
func TestKilledAroundTheSwap(t *testing.T) {
	p := newPublisher(t)
	first := sampleFiles()
	p.publish("20261121-040002", first)
	second := sampleFiles()
	second["full/000003.sst"] = random(9, 2*mib)
	digest := p.publish("20261122-040003", second).Index.Digest

	for _, swapped := range []bool{false, true} {
		for _, vanished := range []bool{false, true} {
			target := filepath.Join(t.TempDir(), "db")
			old := options(p, target)
			old.Version = "20261121-040002"
			mustRun(t, old)
			// A restore that is complete but for the exchange: interrupted
			// late, finished by hand.
			interrupt(t, p, options(p, target), 1*mib)
			work := target + ".qsync-partial"
			whole := filepath.Join(t.TempDir(), "whole")
			mustRun(t, options(p, whole))
			check(t, os.RemoveAll(filepath.Join(work, "tree")))
			check(t, os.Rename(whole, filepath.Join(work, "tree")))
			check(t, os.WriteFile(filepath.Join(work, "swap"), swapNote(t, filepath.Join(work, "tree"), digest), 0o600))
			if swapped {
				check(t, unix.Renameat2(unix.AT_FDCWD, filepath.Join(work, "tree"), unix.AT_FDCWD, target, unix.RENAME_EXCHANGE))
			}
			if vanished {
				check(t, os.RemoveAll(target)) // somebody moved it away meanwhile
			}
			result := mustRun(t, options(p, target))
			sameContent(t, content(t, target), second)
			if swapped && !vanished && (result.FetchedBytes > 0 || result.ReusedBytes > 0) {
				t.Errorf("fetched %d bytes and re-hashed %d, though all was done", result.FetchedBytes, result.ReusedBytes)
			}
		}
	}
}

// pebbleFiles is a real database as a tree of files.
func pebbleFiles(t *testing.T) files {
	t.Helper()
	dir := t.TempDir()
	db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{t}})
	check(t, err)
	check(t, db.Set([]byte("key"), random(1, 3*mib), pebble.Sync))
	check(t, db.Flush())
	check(t, db.Set([]byte("other"), []byte("in the log"), pebble.Sync))
	check(t, db.Close())
	tree := files{}
	for path, body := range content(t, dir) {
		if path != "LOCK" {
			tree["chaindata/"+path] = body
		}
	}
	return tree
}

type quiet struct{ t *testing.T }

func (quiet) Infof(string, ...any)        {}
func (q quiet) Errorf(f string, a ...any) { q.t.Logf(f, a...) }
func (q quiet) Fatalf(f string, a ...any) { q.t.Errorf(f, a...) }

func openPebble(t *testing.T, dir string) error {
	db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{t}})
	if err == nil {
		_, closer, getErr := db.Get([]byte("other"))
		if err = getErr; err == nil {
			err = closer.Close()
		}
		check(t, db.Close())
	}
	return err
}

// TestInPlaceGuard interrupts a restore in place and lets a real engine try the
// half of a database: it must refuse, and must not make a new one.
func TestInPlaceGuard(t *testing.T) {
	p := newPublisher(t)
	p.kind = "pebble"
	want := pebbleFiles(t)
	want["chaindata/999999.sst"] = random(2, 30*mib)
	p.publish("20261122-040003", want)
	target := filepath.Join(t.TempDir(), "db")
	delete(want, "chaindata/999999.sst")
	p.publish("20261122-050003", want)
	mustRun(t, options(p, target))
	database := filepath.Join(target, "chaindata")
	check(t, openPebble(t, database))

	opts := options(p, target)
	opts.InPlace, opts.Version = true, "20261122-040003"
	interrupt(t, p, opts, 8*mib)
	if err := openPebble(t, database); err == nil {
		t.Error("the half-restored database opens")
	}
	plain := opts
	plain.InPlace = false
	if _, err := fetcher.Run(context.Background(), plain); !errors.Is(err, fetcher.ErrInUse) {
		t.Errorf("without --in-place: error is %v", err)
	}
	opts.Version = ""
	mustRun(t, opts)
	sameContent(t, content(t, target), want)
	check(t, openPebble(t, database))
}

// TestHeldTarget restores over a database that a process has open.
func TestHeldTarget(t *testing.T) {
	p := newPublisher(t)
	p.kind = "pebble"
	p.publish("20261122-040003", pebbleFiles(t))
	target := filepath.Join(t.TempDir(), "db")
	mustRun(t, options(p, target))
	release := holdLock(t, filepath.Join(target, "chaindata/LOCK"))
	for _, inPlace := range []bool{false, true} {
		opts := options(p, target)
		opts.InPlace = inPlace
		if _, err := fetcher.Run(context.Background(), opts); !errors.Is(err, fetcher.ErrInUse) {
			t.Errorf("in place %t: error is %v", inPlace, err)
		}
	}
	release()
	check(t, openPebble(t, filepath.Join(target, "chaindata")))
}

// TestOneAtATime starts a second restore of the same target.
func TestOneAtATime(t *testing.T) {
	p := newPublisher(t)
	p.publish("20261122-040003", sampleFiles())
	target := filepath.Join(t.TempDir(), "db")
	var second error
	src := &hooked{Source: openSource(t, p.base), before: func(fetcher.Span) {
		if second == nil {
			_, second = fetcher.Run(context.Background(), options(p, target))
		}
	}}
	mustRun(t, options(p, target, src))
	if !errors.Is(second, fetcher.ErrInUse) {
		t.Errorf("error is %v", second)
	}
}

// TestFullDisk fills a real small filesystem, makes room and goes on.
func TestFullDisk(t *testing.T) {
	require.Root(t)
	mount := t.TempDir()
	check(t, unix.Mount("tmpfs", mount, "tmpfs", 0, "size=40M"))
	t.Cleanup(func() { check(t, unix.Unmount(mount, unix.MNT_DETACH)) })
	p := newPublisher(t)
	want := files{"a": random(1, 20*mib), "b": random(2, 12*mib)}
	p.publish("20261122-040003", want)
	target := filepath.Join(mount, "db")

	ballast := filepath.Join(mount, "ballast")
	check(t, os.WriteFile(ballast, make([]byte, 16*mib), 0o644))
	if _, err := fetcher.Run(context.Background(), options(p, target)); !errors.Is(err, fetcher.ErrNoSpace) {
		t.Errorf("before the start: error is %v", err)
	}
	check(t, os.Remove(ballast))
	filled := false
	src := &hooked{Source: openSource(t, p.base), before: func(s fetcher.Span) {
		if isData(s.Key) && !filled {
			filled = true
			check(t, os.WriteFile(ballast, make([]byte, 16*mib), 0o644))
		}
	}}
	if _, err := fetcher.Run(context.Background(), options(p, target, src)); !errors.Is(err, fetcher.ErrNoSpace) {
		t.Errorf("mid-way: error is %v", err)
	}
	check(t, os.Remove(ballast))
	result := mustRun(t, options(p, target))
	sameContent(t, content(t, target), want)
	if result.FetchedBytes > 20*mib {
		t.Errorf("fetched %d bytes again: what was there has not been kept", result.FetchedBytes)
	}
}

func TestReadOnlyTarget(t *testing.T) {
	require.Root(t)
	mount := t.TempDir()
	check(t, unix.Mount("tmpfs", mount, "tmpfs", unix.MS_RDONLY, "size=4M"))
	t.Cleanup(func() { check(t, unix.Unmount(mount, unix.MNT_DETACH)) })
	p := newPublisher(t)
	p.publish("20261122-040003", files{"a": []byte("b")})
	_, err := fetcher.Run(context.Background(), options(p, filepath.Join(mount, "db")))
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), mount) {
		t.Errorf("error is %v", err)
	}
}
