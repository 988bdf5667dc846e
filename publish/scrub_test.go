package publish_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/publish/targettest"
)

func scrubDir(t *testing.T) (target *dir.Target, base string) {
	t.Helper()
	base = targettest.MemoryDir(t)
	target, err := dir.New(base)
	if err != nil {
		t.Fatal(err)
	}
	return target, base
}

func newScrubStage(t *testing.T, targets ...publish.Target) *targettest.Stage {
	t.Helper()
	s := targettest.NewStage(t, targets...)
	s.Publisher.StateDir = targettest.MemoryDir(t)
	return s
}

func scrubStage(t *testing.T) (s *targettest.Stage, base string) {
	t.Helper()
	target, base := scrubDir(t)
	return newScrubStage(t, target), base
}

// scrub is one pass by hand.
func scrub(t *testing.T, s *targettest.Stage) []status.Damage {
	t.Helper()
	sc := &publish.Scrub{Publisher: s.Publisher, Channels: []string{targettest.Channel}, Name: "hand"}
	if _, err := sc.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	pass, err := status.ScrubsIn(s.Publisher.StateDir).Pass("hand")
	if err != nil || pass.End.IsZero() {
		t.Fatalf("the pass has not ended: %+v, %v", pass, err)
	}
	return damage(t, s)
}

func damage(t *testing.T, s *targettest.Stage) []status.Damage {
	t.Helper()
	all, err := status.ScrubsIn(s.Publisher.StateDir).Damage()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestScrubCounts: what a pass has read of each target is on record, and when the one
// before it has ended.
func TestScrubCounts(t *testing.T) {
	one, _ := scrubDir(t)
	two, base := scrubDir(t)
	s := newScrubStage(t, one, two)
	publishRandom(t, s, 3)
	objects, err := filepath.Glob(filepath.Join(base, "segments/*/*"))
	if err != nil || len(objects) != 3 {
		t.Fatal(objects, err)
	}
	var before time.Time
	for range 2 {
		scrub(t, s)
		pass, err := status.ScrubsIn(s.Publisher.StateDir).Pass("hand")
		if err != nil {
			t.Fatal(err)
		}
		a, b := pass.Cursors[one.String()], pass.Cursors[two.String()]
		if a != b || a.Objects < 3 || a.Bytes == 0 || a.Bytes+b.Bytes != pass.Read || !pass.Before.Equal(before) || pass.LastEnd() != pass.End {
			t.Errorf("%+v", pass)
		}
		before = pass.End
	}
}

// harms are what can become of a file that lies for long.
var harms = map[string]func(t *testing.T, file string){
	"flipped": flip,
	"cut off": func(t *testing.T, file string) {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, info.Size()/2); err != nil {
			t.Fatal(err)
		}
	},
	"gone": func(t *testing.T, file string) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	},
}

// anyFile is a file that fits a pattern, and the largest one.
func anyFile(t *testing.T, base, pattern string) (file string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(base, pattern))
	if err != nil || len(files) == 0 {
		t.Fatal(pattern, files, err)
	}
	return slices.MaxFunc(files, func(a, b string) int {
		x, _ := os.Stat(a)
		y, _ := os.Stat(b)
		return int(x.Size() - y.Size())
	})
}

// TestScrubMends harms each kind of object on each target, where another one has it
// whole.
func TestScrubMends(t *testing.T) {
	first, firstBase := scrubDir(t)
	second, secondBase := scrubDir(t)
	filesBase := targettest.MemoryDir(t)
	files, err := dir.NewFiles(filesBase)
	if err != nil {
		t.Fatal(err)
	}
	s := newScrubStage(t, first, second, files)
	mustPublish(t, s, 0)
	mustPublish(t, s, 1)
	if all := scrub(t, s); len(all) != 0 {
		t.Fatalf("nothing is broken, and found is %+v", all)
	}
	older, newer := targettest.Channel+"/"+targettest.Version(0), targettest.Channel+"/"+targettest.Version(1)
	for name, harm := range harms {
		for base, patterns := range map[string][]string{
			firstBase:  {"segments/*/*", "indexes/*", "manifests/*"},
			secondBase: {"segments/*/*", "indexes/*", "manifests/*"},
			filesBase:  {"indexes/*", "manifests/*", newer + "/*", older + "/changing", older + "/files.txt", older + ".meta.txt"},
		} {
			t.Run(name+" "+base, func(t *testing.T) {
				start := time.Now()
				var broken []string
				for _, pattern := range patterns {
					file := anyFile(t, base, pattern)
					harm(t, file)
					broken = append(broken, file)
				}
				all := scrub(t, s)
				for _, d := range all {
					if d.Mended.IsZero() || len(d.Versions) == 0 || d.Wrong == "" {
						t.Errorf("%+v", d)
					}
				}
				for _, file := range broken {
					if !slices.ContainsFunc(all, func(d status.Damage) bool { return filepath.Join(d.Target, d.Key) == file && d.Mended.After(start) }) {
						t.Errorf("%s is not among %+v", file, all)
					}
				}
				s.WantPublished(1, 0)
				for _, d := range scrub(t, s) {
					if d.Mended.IsZero() {
						t.Errorf("it was mended, and found again is %+v", d)
					}
				}
			})
		}
	}
}

// TestScrubNowhere: what no target has whole is on record, and the next run stores it
// anew, although it has the right size.
func TestScrubNowhere(t *testing.T) {
	for name, harm := range harms {
		for _, pattern := range []string{"segments/*/*", "indexes/*", "manifests/*"} {
			t.Run(name+" "+pattern, func(t *testing.T) {
				s, base := scrubStage(t)
				mustPublish(t, s, 0)
				file := anyFile(t, base, pattern)
				harm(t, file)
				all := scrub(t, s)
				if len(all) != 1 || !all[0].Mended.IsZero() || filepath.Join(base, all[0].Key) != file ||
					!slices.Equal(all[0].Versions, []string{targettest.Channel + " " + targettest.Version(0)}) {
					t.Fatalf("%+v", all)
				}
				since := all[0].Since
				if all = scrub(t, s); len(all) != 1 || !all[0].Since.Equal(since) {
					t.Errorf("seen again it is %+v, since %s", all, since)
				}
				// The same content again, under a later version.
				putAgain(t, s, targettest.Channel, 0, 1)
				left := scrub(t, s)
				if pattern == "manifests/*" { // that of a version is nobody else's
					if len(left) != 1 {
						t.Errorf("left is %+v", left)
					}
					return
				}
				if len(left) != 1 || left[0].Mended.IsZero() {
					t.Errorf("stored anew, it is still %+v", left)
				}
				s.CheckWhole()
			})
		}
	}
}

// TestScrubPruned: what was pruned since the heads were read is no damage.
func TestScrubPruned(t *testing.T) {
	target, base := scrubDir(t)
	h := &hooked{Target: target}
	s := newScrubStage(t, h)
	mustPublish(t, s, 0)
	mustPublish(t, s, 1)
	other := *s.Publisher
	other.Targets = []publish.Target{target}
	h.afterList = func() { // before it is compared with the heads
		age(t, base, 2*publish.DefaultGrace)
		mustPrune(t, &other, keep(1), false)
		s.Later = publish.DefaultGrace + time.Hour
		mustPrune(t, &other, keep(1), false)
	}
	before := len(objects(t, base))
	if all := scrub(t, s); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	if after := len(objects(t, base)); after >= before {
		t.Fatalf("%d objects, and after the prune %d", before, after)
	}
}

// TestScrubUnreachable: a target that does not answer has no broken objects.
func TestScrubUnreachable(t *testing.T) {
	for at := 1; ; at++ {
		first, _ := scrubDir(t)
		second, secondBase := scrubDir(t)
		s := newScrubStage(t, first, second)
		mustPublish(t, s, 0)
		flip(t, anyFile(t, secondBase, "segments/*/*"))
		f := &targettest.Fault{At: at, Lasting: true}
		sc := &publish.Scrub{Publisher: s.Through(f), Channels: []string{targettest.Channel}, Name: "hand"}
		_, err := sc.Round(t.Context())
		if f.Hit() == "" {
			if at < 10 || err != nil {
				t.Fatalf("operation %d, %v", at, err)
			}
			return
		}
		for _, d := range damage(t, s) {
			if !strings.HasPrefix(filepath.Join(d.Target, d.Key), secondBase+"/segments/") {
				t.Errorf("%s: %+v", f, d)
			}
		}
		pass, passErr := status.ScrubsIn(s.Publisher.StateDir).Pass("hand")
		if passErr != nil || err != nil && !pass.End.IsZero() {
			t.Errorf("%s: %v, and the pass has ended: %+v, %v", f, err, pass, passErr)
		}
		// The next one makes up for it.
		if _, err := (&publish.Scrub{Publisher: s.Publisher, Channels: []string{targettest.Channel}, Name: "hand"}).Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.WantPublished(0)
	}
}

// TestScrubForged: a head that is not ours is told, and left as it is.
func TestScrubForged(t *testing.T) {
	s, base := scrubStage(t)
	mustPublish(t, s, 0)
	flip(t, headFile(base))
	sc := &publish.Scrub{Publisher: s.Publisher, Channels: []string{targettest.Channel}, Name: "hand"}
	_, err := sc.Round(t.Context())
	wantError(t, err, "is not ours")
	if all := damage(t, s); len(all) != 1 || all[0].Key != targettest.Channel+"/head" || !all[0].Mended.IsZero() {
		t.Errorf("%+v", all)
	}
	flip(t, headFile(base))
	if all := scrub(t, s); len(all) != 0 {
		t.Errorf("signed again: %+v", all)
	}
}

// TestScrubKeyChanged: only a head that is not ours where another target's is may be
// deleted. If none is, it may be that the key is another one.
func TestScrubKeyChanged(t *testing.T) {
	first, firstBase := scrubDir(t)
	second, secondBase := scrubDir(t)
	s := newScrubStage(t, first, second)
	mustPublish(t, s, 0)
	sc := &publish.Scrub{Publisher: s.Publisher, Channels: []string{targettest.Channel}, Name: "hand"}
	for i, base := range []string{firstBase, secondBase} {
		flip(t, headFile(base))
		_, err := sc.Round(t.Context())
		wantError(t, err, "is not ours")
		all := damage(t, s)
		if len(all) != i+1 {
			t.Fatalf("%+v", all)
		}
		for _, d := range all {
			if strings.Contains(d.Wrong, "delete it here") != (i == 0) || strings.Contains(d.Wrong, "the key may have been changed") != (i == 1) {
				t.Errorf("%d targets have a head that is not ours: %+v", i+1, d)
			}
		}
	}
}

// counting counts the bytes that are read.
type counting struct {
	publish.Target
	read atomic.Int64
}

func (c *counting) Read(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	c.read.Add(length)
	return c.Target.Read(ctx, key, offset, length)
}

// publishRandom publishes so many segments of 1 MiB.
func publishRandom(t *testing.T, s *targettest.Stage, n int) {
	t.Helper()
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	const frame = 1 << 16
	size := n * manifest.SegmentChunks
	f := manifest.File{Path: "random", Size: int64(size) * manifest.ChunkSize, Mode: 0o644, Chunks: make([]byte, size*manifest.DigestSize)}
	f.Frames = slices.Repeat([]uint32{frame}, size)
	for i := range n {
		body := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, manifest.SegmentChunks*frame/2)
		d := manifest.Sum(body)
		f.Segments = append(f.Segments, d[:]...)
		if err := run.Put(t.Context(), d, body); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run.Commit(t.Context(), targettest.NewManifest(0), &manifest.Index{Files: []manifest.File{f}}); err != nil {
		t.Fatal(err)
	}
}

// TestScrubPace: a pass takes its time, never reads faster than it may, and is over in
// time. What is broken is found once a day, if it shows.
func TestScrubPace(t *testing.T) {
	target, base := scrubDir(t)
	c := &counting{Target: target}
	s := newScrubStage(t, c)
	publishRandom(t, s, 20)
	synctest.Test(t, func(t *testing.T) {
		s.Publisher.Now = time.Now
		sc := &publish.Scrub{Publisher: s.Publisher, Channels: []string{targettest.Channel}, Name: "agent", Every: 10 * 24 * time.Hour, Rate: 1000}
		start := time.Now()
		c.read.Store(0)
		next, err := sc.Round(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		if read := c.read.Load(); read < 20<<20 || float64(read-4<<20)/took.Seconds() > 1000 {
			t.Errorf("%d bytes in %s", read, took)
		}
		if want := time.Now().Add(24 * time.Hour); !next.Equal(want) {
			t.Errorf("the next round is at %s, want %s", next, want)
		}
		file := anyFile(t, base, "segments/*/*")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(next))
		if next, err = sc.Round(t.Context()); err != nil || len(damage(t, s)) != 1 {
			t.Fatalf("%v, %v", damage(t, s), err)
		}
		if want := time.Now().Add(time.Hour); !next.Equal(want) {
			t.Errorf("with damage the next round is at %s, want %s", next, want)
		}
		for days := range 10 {
			time.Sleep(time.Until(next))
			if next, err = sc.Round(t.Context()); err != nil {
				t.Fatalf("day %d: %v", days, err)
			}
		}
	})
}

// TestScrubGoesOn: a pass that is cut off at any point goes on there.
func TestScrubGoesOn(t *testing.T) {
	target, _ := scrubDir(t)
	files, err := dir.NewFiles(targettest.MemoryDir(t))
	if err != nil {
		t.Fatal(err)
	}
	s := newScrubStage(t, target, files)
	mustPublish(t, s, 0)
	cut := &publish.Scrub{Publisher: s.Publisher, Channels: []string{targettest.Channel}, Name: "agent", Every: time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	var total int64
	cut.Progress = func(read, all int64) {
		if total = all; read > all/2 {
			cancel()
		}
	}
	if _, err := cut.Round(ctx); err == nil {
		t.Fatal("it was cut off, and says nothing")
	}
	var first int64 = -1
	rest := &publish.Scrub{Publisher: s.Publisher, Channels: cut.Channels, Name: "agent", Every: cut.Every}
	rest.Progress = func(read, all int64) {
		if first < 0 {
			first = read
		}
		if all > total+total/10 {
			t.Errorf("%d bytes are to be read, after %d", all, total)
		}
	}
	if _, err := rest.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first < total/2 {
		t.Errorf("it goes on at %d of %d", first, total)
	}
	pass, err := status.ScrubsIn(s.Publisher.StateDir).Pass("agent")
	if err != nil || pass.End.IsZero() {
		t.Errorf("%+v, %v", pass, err)
	}
}

// putAgain publishes the content of a generation again, under a later version.
func putAgain(t *testing.T, s *targettest.Stage, channel string, generation, version int) {
	t.Helper()
	run, err := s.Publisher.Begin(t.Context(), channel)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	x, bodies := targettest.Generation(generation)
	for d, body := range bodies {
		if err := run.Put(t.Context(), d, body); err != nil {
			t.Fatal(err)
		}
	}
	m := targettest.NewManifest(version)
	m.Channel = channel
	if err := run.PutFiles(t.Context(), m.Version, x, targettest.Open(generation), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Commit(t.Context(), m, x); err != nil {
		t.Fatal(err)
	}
}

// TestScrubFilesNowhere: a raw file that is broken together with its segment is sent
// anew by the next run, and not copied; the older version's is mended from then on.
func TestScrubFilesNowhere(t *testing.T) {
	first, firstBase := scrubDir(t)
	filesBase := targettest.MemoryDir(t)
	files, err := dir.NewFiles(filesBase)
	if err != nil {
		t.Fatal(err)
	}
	s := newScrubStage(t, first, files)
	mustPublish(t, s, 0)
	broken := []string{anyFile(t, filesBase, targettest.Channel+"/*/growing")}
	for _, key := range objects(t, firstBase) {
		if strings.HasPrefix(key, "segments/") {
			broken = append(broken, filepath.Join(firstBase, key))
		}
	}
	for _, file := range broken {
		flip(t, file)
	}
	if all := scrub(t, s); len(all) != len(broken) || slices.ContainsFunc(all, func(d status.Damage) bool { return !d.Mended.IsZero() }) {
		t.Fatalf("of %q found is %+v", broken, all)
	}
	putAgain(t, s, targettest.Channel, 0, 1)
	if all := scrub(t, s); len(all) != len(broken) || slices.ContainsFunc(all, func(d status.Damage) bool { return d.Mended.IsZero() }) {
		t.Errorf("after the next run: %+v", all)
	}
	s.CheckWhole()
}

// watchedFiles are told when a file is assembled, and count what is read of it from then on.
type watchedFiles struct {
	dir.Files
	assemble func(key string) // nil while a run puts many at once
	key      string
	read     int64
}

func (w *watchedFiles) Assemble(ctx context.Context, key string, pieces []publish.Piece, content io.ReaderAt) error {
	if w.assemble != nil {
		w.assemble(key)
		w.key = key
	}
	return w.Files.Assemble(ctx, key, pieces, content)
}

func (w *watchedFiles) Read(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if key == w.key {
		w.read += length
	}
	return w.Files.Read(ctx, key, offset, length)
}

// TestScrubFilesAtOnce: a raw file is on record before it is mended, which takes as long
// as the rate wants, and not the pace of the pass. Only what was bad is read again.
func TestScrubFilesAtOnce(t *testing.T) {
	first, _ := scrubDir(t)
	filesBase := targettest.MemoryDir(t)
	files, err := dir.NewFiles(filesBase)
	if err != nil {
		t.Fatal(err)
	}
	w := &watchedFiles{Files: files}
	s := newScrubStage(t, first, w)
	mustPublish(t, s, 0)
	file := anyFile(t, filesBase, targettest.Channel+"/*/zeros")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, harm := range harms {
		t.Run(name, func(t *testing.T) {
			harm(t, file)
			// In a bubble, as time is nothing but the waiting for the limit.
			synctest.Test(t, func(t *testing.T) {
				start, assembled, most := time.Now(), false, time.Second
				if name == "flipped" { // the pass has read half of it, at a megabyte a second
					most = 18 * time.Second
				}
				s.Publisher.Now = time.Now
				w.key, w.read = "", 0
				w.assemble = func(key string) {
					assembled = true
					if took := time.Since(start); took > most {
						t.Errorf("it is mended after %s", took)
					}
					if !slices.ContainsFunc(damage(t, s), func(d status.Damage) bool { return d.Key == key && d.Mended.IsZero() }) {
						t.Errorf("it is mended, and not on record before: %+v", damage(t, s))
					}
				}
				sc := &publish.Scrub{Publisher: s.Publisher, Channels: []string{targettest.Channel}, Name: name, Every: 30 * 24 * time.Hour, Rate: 1 << 40}
				if _, err := sc.Round(t.Context()); err != nil {
					t.Fatal(err)
				}
				if !assembled {
					t.Errorf("it is not mended: %+v", damage(t, s))
				}
				if name == "flipped" && w.read > info.Size()/2 {
					t.Errorf("of %d bytes %d are read again", info.Size(), w.read)
				}
			})
		})
	}
}

// TestScrubOnly: a look at one channel does not take back what is known of another.
func TestScrubOnly(t *testing.T) {
	const other = "other-files-full"
	s, base := scrubStage(t)
	mustPublish(t, s, 0)
	putAgain(t, s, other, 1, 1)
	both := []string{targettest.Channel, other}
	look := func(only string) []status.Damage {
		sc := &publish.Scrub{Publisher: s.Publisher, Channels: both, Only: only, Name: "hand"}
		if _, err := sc.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		return damage(t, s)
	}
	for _, file := range objects(t, base) {
		if strings.HasPrefix(file, "segments/") {
			flip(t, filepath.Join(base, file))
		}
	}
	all := look("")
	shared := 0
	for _, d := range all {
		if len(d.Versions) == 2 {
			shared++
		}
	}
	if shared == 0 || shared == len(all) {
		t.Fatalf("%d of %d objects are shared", shared, len(all))
	}
	for _, only := range both {
		if again := look(only); len(again) != len(all) || !slices.EqualFunc(again, all, func(a, b status.Damage) bool { return slices.Equal(a.Versions, b.Versions) }) {
			t.Errorf("%s alone: %+v, want %+v", only, again, all)
		}
	}
}

// TestScrubInvalidates: caches forget what was rotten, and not what was missing.
func TestScrubInvalidates(t *testing.T) {
	first, firstBase := scrubDir(t)
	second, _ := scrubDir(t)
	s := newScrubStage(t, first, second)
	mustPublish(t, s, 0)
	told := &forgetful{}
	s.Publisher.Caches = []publish.Cache{told}
	flip(t, anyFile(t, firstBase, "segments/*/*"))
	if err := os.Remove(anyFile(t, firstBase, "indexes/*")); err != nil {
		t.Fatal(err)
	}
	all := scrub(t, s)
	if len(all) != 2 || len(told.keys) != 1 || !strings.HasPrefix(told.keys[0], "segments/") {
		t.Errorf("of %+v the cache is told %q", all, told.keys)
	}
}

// TestScrubInvalidatesAgain: nothing counts as mended before the caches know.
func TestScrubInvalidatesAgain(t *testing.T) {
	first, firstBase := scrubDir(t)
	second, _ := scrubDir(t)
	s := newScrubStage(t, first, second)
	mustPublish(t, s, 0)
	told := &forgetful{}
	s.Publisher.Caches = []publish.Cache{told}
	told.err = errors.New("out of order")
	told.look = func(key string) {
		for _, d := range damage(t, s) {
			if d.Key == key && !d.Mended.IsZero() {
				t.Errorf("it is on record as mended before the cache is told: %+v", d)
			}
		}
	}
	flip(t, anyFile(t, firstBase, "segments/*/*"))
	if all := scrub(t, s); len(all) != 1 || !all[0].Mended.IsZero() || !strings.Contains(all[0].Wrong, "a cache may have it still") {
		t.Errorf("the cache was not told, and on record is %+v", all)
	}
	s.CheckWhole()
	told.keys, told.err = nil, nil
	if all := scrub(t, s); len(all) != 0 || len(told.keys) != 1 {
		t.Errorf("the cache is told %q, and on record is %+v", told.keys, all)
	}
}

// TestRunInvalidates: what a run stores anew is told to the caches, and is mended on
// record, so that the next one does not store it again. No scrub is needed for it.
func TestRunInvalidates(t *testing.T) {
	s, base := scrubStage(t)
	mustPublish(t, s, 0)
	file := anyFile(t, base, "segments/*/*")
	flip(t, file)
	before := scrub(t, s)
	told := &forgetful{err: errors.New("out of order")}
	s.Publisher.Caches = []publish.Cache{told}
	for version := 1; version <= 2; version++ {
		told.keys = nil
		putAgain(t, s, targettest.Channel, 0, version)
		if !slices.ContainsFunc(told.keys, func(key string) bool { return filepath.Join(base, key) == file }) {
			t.Errorf("run %d: the cache is told %q", version, told.keys)
		}
		all := damage(t, s)
		if len(all) != 1 || all[0].Mended.IsZero() != (told.err != nil) || !all[0].Since.Equal(before[0].Since) {
			t.Errorf("run %d: %+v", version, all)
		}
		told.err = nil
	}
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	x, _ := targettest.Generation(0)
	if _, previous := run.Previous(); len(previous.Files) != len(x.Files) {
		t.Errorf("of %d files %d are to be stored anew again", len(x.Files), len(x.Files)-len(previous.Files))
	}
	s.CheckWhole()
}

type forgetful struct {
	keys []string
	err  error
	look func(key string) // may be nil
}

func (f *forgetful) Invalidate(_ context.Context, keys []string) error {
	for _, key := range keys {
		if f.look != nil {
			f.look(key)
		}
	}
	f.keys = append(f.keys, keys...)
	return f.err
}
func (f *forgetful) String() string { return "cache" }
