package snapshot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/snapshot"
)

// settle makes all files of a database look as if they were written long ago.
func settle(t *testing.T, dir string) {
	t.Helper()
	then := time.Now().Add(-time.Hour)
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			err = os.Chtimes(path, then, then)
		}
		return err
	}))
}

// openings notes which files of a fork are opened.
type openings struct {
	snapshot.Forker
	mu    sync.Mutex
	paths []string
}

func (o *openings) Begin(ctx context.Context, db *snapshot.Tree) (snapshot.Fork, error) {
	fork, err := o.Forker.Begin(ctx, db)
	return &watchedFork{fork, o}, err
}

type watchedFork struct {
	snapshot.Fork
	seen *openings
}

func (f *watchedFork) Open(path string) (*os.File, error) {
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	if !slices.Contains(f.seen.paths, path) {
		f.seen.paths = append(f.seen.paths, path)
	}
	return f.Fork.Open(path)
}

func (o *openings) sst() []string {
	found := slices.DeleteFunc(slices.Clone(o.paths), func(p string) bool { return filepath.Ext(p) != ".sst" })
	slices.Sort(found)
	return found
}

// previous is what an agent hands to the next run: the stamps have been on disk.
func previous(t *testing.T, r *snapshot.Result) *snapshot.Previous {
	t.Helper()
	b, err := json.Marshal(r.Stamps)
	must(t, err)
	p := &snapshot.Previous{Index: r.Index}
	must(t, json.Unmarshal(b, &p.Stamps))
	return p
}

// again runs a second snapshot after a change and returns it with the files of
// the fork that were opened.
func again(t *testing.T, name string, change func(dir string)) (first, second *snapshot.Result, opened []string) {
	t.Helper()
	dir := rocks(t)
	settle(t, dir)
	sink := &memory{}
	o := options(t, dir, sink, &stoppable{})
	o.Forker = forker(t, name)
	first, err := snapshot.Run(t.Context(), o)
	must(t, err)
	change(dir)
	o.Previous = previous(t, first)
	watch := &openings{Forker: forker(t, name)}
	o.Forker = watch
	second, err = snapshot.Run(t.Context(), o)
	must(t, err)
	restored := t.TempDir()
	sink.restore(t, second.Index, restored)
	sameTree(t, second.Index, dir, restored)
	return first, second, watch.sst()
}

func TestUnchangedFilesAreNotRead(t *testing.T) {
	for _, name := range []string{"hardlink", "copy"} {
		first, second, opened := again(t, name, func(string) {})
		if len(opened) > 0 {
			t.Errorf("%s: unchanged files were opened: %q", name, opened)
		}
		if diff := cmp.Diff(first.Index, second.Index); diff != "" {
			t.Errorf("%s: the index differs: %s", name, diff)
		}
		if diff := cmp.Diff(first.Stamps, second.Stamps); diff != "" {
			t.Errorf("%s: the stamps differ: %s", name, diff)
		}
		// What is not immutable is read, and found to be stored already.
		if want := int64(2<<20 + 4000 + 200); second.ReadBytes > want || second.StoredBytes > 0 {
			t.Errorf("%s: read %d bytes, stored %d", name, second.ReadBytes, second.StoredBytes)
		}
		if second.ReusedBytes != second.RawBytes || second.RawBytes != first.RawBytes {
			t.Errorf("%s: reused %d of %d bytes", name, second.ReusedBytes, second.RawBytes)
		}
	}
}

// A change is never missed, however it hides.
func TestChangedFilesAreRead(t *testing.T) {
	const path = "full/000009.sst"
	for name, change := range map[string]func(t *testing.T, p string){
		"same size and time": func(t *testing.T, p string) {
			t.Helper()
			info, err := os.Stat(p)
			must(t, err)
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte("changed"), 5<<20)
			must(t, err)
			must(t, f.Close())
			must(t, os.Chtimes(p, info.ModTime(), info.ModTime()))
		},
		"another file of the same size and time": func(t *testing.T, p string) {
			t.Helper()
			info, err := os.Stat(p)
			must(t, err)
			must(t, os.WriteFile(p+".new", noise(99, int(info.Size())), 0o640))
			must(t, os.Chtimes(p+".new", info.ModTime(), info.ModTime()))
			must(t, os.Rename(p+".new", p))
		},
		"longer": func(t *testing.T, p string) {
			t.Helper()
			f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0)
			must(t, err)
			_, err = f.WriteString("more")
			must(t, err)
			must(t, f.Close())
		},
		"mode": func(t *testing.T, p string) { t.Helper(); must(t, os.Chmod(p, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			_, _, opened := again(t, "hardlink", func(dir string) { change(t, filepath.Join(dir, path)) })
			if !slices.Equal(opened, []string{path}) {
				t.Errorf("opened %q, want %s alone", opened, path)
			}
		})
	}
}

// A change while the fork is held, which the snapshot does not show, must be seen
// by the next run although the run's own links change the file's times.
func TestChangeDuringTheSealIsSeenNextTime(t *testing.T) {
	const path = "full/000009.sst"
	dir := rocks(t)
	settle(t, dir)
	o := options(t, dir, &memory{}, &stoppable{})
	old := time.Now().Add(-time.Hour)
	once := sync.OnceFunc(func() { // another file under the same name, as like the first as can be
		p := filepath.Join(dir, path)
		must(t, os.WriteFile(p+".new", noise(98, 17<<20), 0o640))
		must(t, os.Chtimes(p+".new", old, old))
		must(t, os.Rename(p+".new", p))
		// And one whose inode stays.
		p = filepath.Join(dir, "full/000007.sst")
		info, err := os.Stat(p)
		must(t, err)
		must(t, os.Chmod(p, 0o600))
		must(t, os.Chtimes(p, info.ModTime(), info.ModTime()))
	})
	o.Forker = &stage{Forker: forker(t, "hardlink"), open: once}
	first, err := snapshot.Run(t.Context(), o)
	must(t, err)
	for _, p := range []string{path, "full/000007.sst"} {
		if _, ok := first.Stamps[p]; ok {
			t.Errorf("%s has a stamp though it changed", p)
		}
	}
	if _, ok := first.Stamps["full/000011.sst"]; !ok {
		t.Error("a file that did not change has no stamp")
	}
}

// Nor is one missed that comes while the fork is being released.
func TestChangeDuringTheReleaseIsSeenNextTime(t *testing.T) {
	dir := rocks(t)
	settle(t, dir)
	o := options(t, dir, &memory{}, &stoppable{})
	o.Forker = &stage{Forker: o.Forker, release: func() { write(t, dir, "full/000007.sst", noise(97, 3<<20+17)) }}
	result, err := snapshot.Run(t.Context(), o)
	must(t, err)
	if _, ok := result.Stamps["full/000007.sst"]; ok || len(result.Stamps) != 3 {
		t.Errorf("stamps after a change: %v", result.Stamps)
	}
}

// A stamp counts only together with the index it was taken with.
func TestStampsWithoutTheirIndex(t *testing.T) {
	dir := rocks(t)
	settle(t, dir)
	o := options(t, dir, &memory{}, &stoppable{})
	first, err := snapshot.Run(t.Context(), o)
	must(t, err)
	o.Previous = previous(t, first)
	o.Previous.Index = &manifest.Index{Files: slices.Clone(first.Index.Files)}
	for i := range o.Previous.Index.Files {
		if f := &o.Previous.Index.Files[i]; f.Size > 0 {
			f.Size++ // of the same number of chunks
		}
	}
	second, err := snapshot.Run(t.Context(), o)
	must(t, err)
	if diff := cmp.Diff(first.Index, second.Index); diff != "" {
		t.Errorf("files of another size were taken over: %s", diff)
	}
}

// The times of a file that was just written may not show the next write.
func TestFreshFilesGetNoStamp(t *testing.T) {
	result, err := snapshot.Run(t.Context(), options(t, rocks(t), &memory{}, &stoppable{}))
	must(t, err)
	if len(result.Stamps) > 0 {
		t.Errorf("stamps of files written a moment ago: %v", result.Stamps)
	}
}

// Content that is stored already is named again, wherever it was.
func TestKnownSegmentsAreNotPutAgain(t *testing.T) {
	dir := rocks(t)
	big := slices.Concat(noise(1, 16<<20), noise(2, 16<<20), noise(3, 10<<20))
	write(t, dir, "full/000020.sst", big)
	write(t, dir, "full/000021.sst", noise(4, 5<<20))
	sink := &memory{}
	o := options(t, dir, sink, &stoppable{})
	o.Workers = 1
	first, err := snapshot.Run(t.Context(), o)
	must(t, err)

	// The same under another name and number; a file whose second segment
	// changes in its fifth chunk; one that is the beginning of what it was.
	must(t, os.Rename(filepath.Join(dir, "full/000009.sst"), filepath.Join(dir, "full/000030.sst")))
	changed := bytes.Clone(big)
	changed[20<<20]++
	write(t, dir, "full/000020.sst", changed)
	must(t, os.Truncate(filepath.Join(dir, "full/000021.sst"), 4<<20))
	sink.puts = 0
	o.Previous = &snapshot.Previous{Index: first.Index}
	second, err := snapshot.Run(t.Context(), o)
	must(t, err)
	restored := t.TempDir()
	sink.restore(t, second.Index, restored)
	sameTree(t, second.Index, dir, restored)
	if sink.puts != 2 {
		t.Errorf("%d segments were put, want the changed and the shorter one", sink.puts)
	}
	if want := second.RawBytes - 20<<20; second.ReusedBytes != want {
		t.Errorf("reused %d bytes, want %d", second.ReusedBytes, want)
	}
	// Four chunks of the changed segment are read twice, holes not at all.
	if most := second.RawBytes + 4<<20; second.ReadBytes > most {
		t.Errorf("read %d bytes of %d", second.ReadBytes, second.RawBytes)
	}
	for i := range second.Index.Files {
		f := &second.Index.Files[i]
		if f.Path != "full/000020.sst" {
			continue
		}
		was := first.Index.Files[slices.IndexFunc(first.Index.Files, func(f manifest.File) bool { return f.Path == "full/000020.sst" })]
		if f.Segment(0) != was.Segment(0) || f.Segment(1) == was.Segment(1) || f.Segment(2) != was.Segment(2) {
			t.Error("other segments than the changed one were named anew")
		}
	}
}

func TestNumberOfWorkersDoesNotShow(t *testing.T) {
	dir := rocks(t)
	var want *snapshot.Result
	var segments map[manifest.Digest][]byte
	for _, workers := range []int{1, 2, 7} {
		sink := &memory{}
		o := options(t, dir, sink, &stoppable{})
		o.Workers = workers
		got, err := snapshot.Run(t.Context(), o)
		must(t, err)
		if want == nil {
			want, segments = got, sink.segments
			continue
		}
		if diff := cmp.Diff(want.Index, got.Index); diff != "" {
			t.Errorf("%d workers: the index differs: %s", workers, diff)
		}
		if !maps.EqualFunc(segments, sink.segments, bytes.Equal) {
			t.Errorf("%d workers: the segments differ", workers)
		}
	}
}

func TestHolesAreNotRead(t *testing.T) {
	dir := rocks(t)
	p := filepath.Join(dir, "full/000040.sst")
	must(t, os.WriteFile(p, nil, 0o640))
	must(t, os.Truncate(p, 256<<20+5))
	f, err := os.OpenFile(p, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("data"), 128<<20-2) // across two chunks
	must(t, err)
	must(t, f.Close())
	sink := &memory{}
	before, err := snapshot.Run(t.Context(), options(t, rocks(t), &memory{}, &stoppable{}))
	must(t, err)
	result, err := snapshot.Run(t.Context(), options(t, dir, sink, &stoppable{}))
	must(t, err)
	if read := result.ReadBytes - before.ReadBytes; read != 2<<20 {
		t.Errorf("%d bytes of a file with two chunks of data were read", read)
	}
	restored := t.TempDir()
	sink.restore(t, result.Index, restored)
	sameTree(t, result.Index, dir, restored)
	// All segments of zeros are one object.
	if sink.puts > 13 {
		t.Errorf("%d segments were put", sink.puts)
	}
}

func TestProgressAddsUp(t *testing.T) {
	dir := rocks(t)
	var last snapshot.Progress
	o := options(t, dir, &memory{}, &stoppable{})
	o.Progress = func(p snapshot.Progress) {
		if p.DoneBytes < last.DoneBytes || p.ReadBytes < last.ReadBytes || p.StoredBytes < last.StoredBytes {
			t.Errorf("progress goes back from %+v to %+v", last, p)
		}
		last = p
	}
	result, err := snapshot.Run(t.Context(), o)
	must(t, err)
	want := snapshot.Progress{
		TotalBytes: result.RawBytes, DoneBytes: result.RawBytes, ReadBytes: result.ReadBytes,
		ReusedBytes: result.ReusedBytes, StoredBytes: result.StoredBytes,
	}
	if last != want {
		t.Errorf("progress ends at %+v, the result is %+v", last, result)
	}
	if last.ReadBytes == 0 || last.StoredBytes == 0 {
		t.Errorf("nothing was counted: %+v", last)
	}
}
