package publish_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/targettest"
)

// newFilesStage has a target of segments and one of files.
func newFilesStage(t *testing.T) (s *targettest.Stage, files string) {
	t.Helper()
	segments, _ := newDir(t)
	files = t.TempDir()
	return targettest.NewStage(t, segments, newFiles(t, files)), files
}

func newFiles(t *testing.T, base string) dir.Files {
	t.Helper()
	target, err := dir.NewFiles(base)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func channelDir(files string) string { return filepath.Join(files, targettest.Channel) }

// TestFilesTargetJoins: a target of files that is new has nothing of older versions,
// and gets the next one whole; its head does not name one that is not there.
func TestFilesTargetJoins(t *testing.T) {
	s, _ := newStage(t)
	mustPublish(t, s, 0)
	files := t.TempDir()
	s = s.With(newFiles(t, files))
	if err := s.Publisher.Renew(t.Context(), targettest.Channel); err != nil {
		t.Fatal(err)
	}
	if heads := s.Heads(); heads[1] != nil {
		t.Errorf("%s names version %s, of which it has nothing", files, heads[1].Snapshots[0].Version)
	}
	receipt := mustPublish(t, s, 1)
	var want int64
	for _, raw := range targettest.Raw(1) {
		want += int64(len(raw))
	}
	if receipt.FilesBytes != want {
		t.Errorf("%d bytes were sent, want all %d", receipt.FilesBytes, want)
	}
	// The head names both, and whoever looks for the first one finds it elsewhere.
	entries, err := os.ReadDir(channelDir(files))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	version := targettest.Version(1)
	if diff := cmp.Diff([]string{version, version + ".claim.txt", version + ".meta.txt", "head", "latest_version.meta.txt"}, names); diff != "" {
		t.Error(diff)
	}
	mustPublish(t, s, 2)
	mustPrune(t, s.Publisher, keep(2), false)
	s.WantPublished(2, 1)
}

// TestFilesTargetFirst: the first target has lost its head, and the next one has no
// segments to bring it up with. The one behind it has.
func TestFilesTargetFirst(t *testing.T) {
	first, base := newDir(t)
	last, _ := newDir(t)
	s := targettest.NewStage(t, first, newFiles(t, t.TempDir()), last)
	mustPublish(t, s, 0)
	for _, lost := range []string{headFile(base), filepath.Join(base, "segments")} {
		if err := os.RemoveAll(lost); err != nil {
			t.Fatal(err)
		}
	}
	mustPublish(t, s, 1)
	s.WantPublished(1, 0)
}

// TestFilesTargetIncomplete: what is missing from the version before is no base for
// the next one, which puts things right.
func TestFilesTargetIncomplete(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"gone":  os.Remove,
		"short": func(file string) error { return os.Truncate(file, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			s, files := newFilesStage(t)
			mustPublish(t, s, 0)
			if err := spoil(filepath.Join(channelDir(files), targettest.Version(0), "same")); err != nil {
				t.Fatal(err)
			}
			mustPublish(t, s, 1)
			mustPrune(t, s.Publisher, keep(1), false)
			s.WantPublished(1)
		})
	}
}

// TestFilesNames: names that such a target has no place for are refused before
// anything is sent.
func TestFilesNames(t *testing.T) {
	for _, path := range []string{"files.txt", ".hidden", "sub/.hidden", "#1", "; then"} {
		s, files := newFilesStage(t)
		run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
		if err != nil {
			t.Fatal(err)
		}
		x := &manifest.Index{Files: []manifest.File{{Path: path}}}
		err = run.PutFiles(t.Context(), targettest.Version(0), x, nil, nil)
		wantError(t, err, path, "rename it")
		wantError(t, run.CheckPath(path), path, "rename it")
		if err := run.CheckPath("sub/#1"); err != nil {
			t.Error(err)
		}
		if err := run.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(channelDir(files)); err == nil {
			t.Errorf("%s: something was put", path)
		}
	}
}

// TestFilesAreNeeded: a version without its files is not published.
func TestFilesAreNeeded(t *testing.T) {
	s, _ := newFilesStage(t)
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	x, bodies := targettest.Generation(0)
	for d, body := range bodies {
		if err := run.Put(t.Context(), d, body); err != nil {
			t.Fatal(err)
		}
	}
	_, err = run.Commit(t.Context(), targettest.NewManifest(0), x)
	wantError(t, err, "its files were not put")
}

// TestOnlyFiles: somebody must have the segments.
func TestOnlyFiles(t *testing.T) {
	s := targettest.NewStage(t, newFiles(t, t.TempDir()))
	_, err := s.Publish(t.Context(), s.Publisher, 0)
	wantError(t, err, "first target holds files and no segments")
}

// TestFilesChangedInPlaces: of a big file the units that changed are sent, and no
// more, whatever was done to it.
func TestFilesChangedInPlaces(t *testing.T) {
	const chunk, unit = manifest.ChunkSize, publish.MinPiece
	random := rand.NewChaCha8([32]byte{1})
	bytesOf := func(n int) []byte { b := make([]byte, n); _, _ = random.Read(b); return b }
	flip := func(raw []byte, at ...int) []byte {
		raw = slices.Clone(raw)
		for _, i := range at {
			raw[i] ^= 1
		}
		return raw
	}
	before := bytesOf(5*unit + 3*chunk + 100)
	for name, c := range map[string]struct {
		after []byte
		sent  int
	}{
		"a byte":            {flip(before, 2*unit+5), unit},
		"two bytes, far":    {flip(before, 5, 4*unit), 2 * unit},
		"two, side by side": {flip(before, unit, 2*unit), 2 * unit},
		"the last byte":     {flip(before, len(before)-1), 3*chunk + 100},
		"longer":            {append(slices.Clone(before), bytesOf(unit)...), unit + 3*chunk + 100},
		"shorter":           {before[:3*unit+chunk], 0},
		"cut at a unit":     {before[:2*unit], 0},
		"empty":             {nil, 0},
		"all of it":         {bytesOf(len(before)), len(before)},
	} {
		t.Run(name, func(t *testing.T) {
			s, files := newFilesStage(t)
			publishOne(t, s, 0, before)
			receipt := publishOne(t, s, 1, c.after)
			if receipt.FilesBytes != int64(c.sent) {
				t.Errorf("%d bytes were sent, want %d", receipt.FilesBytes, c.sent)
			}
			for version, want := range [][]byte{before, c.after} {
				got, err := os.ReadFile(filepath.Join(channelDir(files), targettest.Version(version), "table"))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("version %d: %d bytes, %v, want %d others", version, len(got), err, len(want))
				}
			}
		})
	}
}

// publishOne publishes a directory of one file, whose segments are not put.
func publishOne(t *testing.T, s *targettest.Stage, generation int, raw []byte) publish.Receipt {
	t.Helper()
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	f := manifest.File{Path: "table", Size: int64(len(raw)), Mode: 0o644}
	encoder, err := manifest.NewFrameEncoder(1, 10)
	if err != nil {
		t.Fatal(err)
	}
	var segment []byte
	for chunk := range slices.Chunk(raw, manifest.ChunkSize) {
		d := manifest.Sum(chunk)
		frame := encoder.Append(nil, chunk)
		f.Chunks, f.Frames, segment = append(f.Chunks, d[:]...), append(f.Frames, uint32(len(frame))), append(segment, frame...)
	}
	for i := range f.SegmentCount() {
		first, n := f.SegmentSpan(i)
		var size int
		for _, frame := range f.Frames[first : first+n] {
			size += int(frame)
		}
		d := manifest.Sum(segment[:size])
		f.Segments = append(f.Segments, d[:]...)
		if err := run.Put(t.Context(), d, segment[:size]); err != nil {
			t.Fatal(err)
		}
		segment = segment[size:]
	}
	x := &manifest.Index{Files: []manifest.File{f}}
	open := func(string) (publish.File, error) {
		return closable{bytes.NewReader(append(slices.Clone(raw), "later"...))}, nil
	}
	if err := run.PutFiles(t.Context(), targettest.Version(generation), x, open, nil); err != nil {
		t.Fatal(err)
	}
	receipt, err := run.Commit(t.Context(), targettest.NewManifest(generation), x)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

type closable struct{ *bytes.Reader }

func (closable) Close() error { return nil }

// TestFilesOtherThanSealed: what the fork holds now is not what was sealed.
func TestFilesOtherThanSealed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(raw []byte) []byte
		says   string
	}{
		"another byte": {func(raw []byte) []byte { raw[0] ^= 1; return raw }, "does not hold still"},
		"shorter":      {func(raw []byte) []byte { return raw[:3] }, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newFilesStage(t)
			run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			x, _ := targettest.Generation(0)
			open := func(path string) (publish.File, error) {
				raw := slices.Clone(targettest.Raw(0)[path])
				if path == "growing" {
					raw = c.change(raw)
				}
				return closable{bytes.NewReader(raw)}, nil
			}
			err = run.PutFiles(t.Context(), targettest.Version(0), x, open, nil)
			wantError(t, err, c.says, fmt.Sprintf("put %s/%s/growing", targettest.Channel, targettest.Version(0)))
		})
	}
}
