package targettest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// filesTarget is a target of files.
type filesTarget interface {
	publish.Target
	publish.Files
}

const (
	oldKey = Channel + "/20261122-040000/full/table"
	newKey = Channel + "/20261123-040000/full/table"
)

func randomBytes(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// mustAssemble makes an object of one piece, however long it is.
func mustAssemble(t *testing.T, target filesTarget, key string, body []byte) {
	t.Helper()
	var all []publish.Piece
	if len(body) > 0 {
		all = []publish.Piece{{Length: int64(len(body))}}
	}
	if err := target.Assemble(t.Context(), key, all, bytes.NewReader(body)); err != nil {
		t.Fatalf("assemble %s of %d bytes: %v", key, len(body), err)
	}
}

// testAssemble: pieces that are copied and pieces that are sent come to lie where
// they belong.
func testAssemble(t *testing.T, target filesTarget) {
	const unit = publish.MinPiece
	before := randomBytes(1, 4*unit+1000)
	mustAssemble(t, target, oldKey, before)
	wantContent(t, target, oldKey, before)
	for name, c := range map[string]struct {
		size  int
		spans []int // ends of pieces; below 0 for one that is copied
	}{
		"empty":            {size: 0},
		"one byte":         {1, []int{1}},
		"one piece":        {3 * unit, []int{3 * unit}},
		"sent in three":    {2*unit + 7, []int{unit, 2 * unit, 2*unit + 7}},
		"copied, sent":     {3*unit + 99, []int{-2 * unit, 3*unit + 99}},
		"sent, copied":     {4*unit + 1000, []int{unit, -(4*unit + 1000)}},
		"a short last one": {3*unit + 1, []int{unit, -3 * unit, 3*unit + 1}},
		"alternating":      {4 * unit, []int{-unit, 2 * unit, -3 * unit, 4 * unit}},
		"the begin of it":  {2 * unit, []int{-2 * unit}},
	} {
		t.Run(name, func(t *testing.T) {
			content := randomBytes(2, c.size)
			want := slices.Clone(content)
			var all []publish.Piece
			start := 0
			for _, end := range c.spans {
				p := publish.Piece{Offset: int64(start)}
				if end < 0 {
					end, p.From = -end, oldKey
					copy(want[start:end], before[start:end])
				}
				p.Length = int64(end - start)
				all, start = append(all, p), end
			}
			if err := target.Assemble(t.Context(), newKey, all, bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			if o := mustStat(t, target, newKey); o.Size != int64(c.size) {
				t.Errorf("%d bytes, want %d", o.Size, c.size)
			}
			wantContent(t, target, newKey, want)
			wantContent(t, target, oldKey, before)
		})
	}
}

// testAssembleReplaces: what was there is there until all of the new object is.
func testAssembleReplaces(t *testing.T, target filesTarget) {
	const size = 2*publish.MinPiece + 5
	before, after := randomBytes(1, size), randomBytes(2, size)
	mustAssemble(t, target, newKey, before)
	reading, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	content := readerAt(func(p []byte, offset int64) (int, error) {
		once.Do(func() { close(reading) })
		<-goOn
		return bytes.NewReader(after).ReadAt(p, offset)
	})
	done := make(chan error)
	go func() {
		done <- target.Assemble(t.Context(), newKey, []publish.Piece{
			{Length: publish.MinPiece}, {Offset: publish.MinPiece, Length: size - publish.MinPiece},
		}, content)
	}()
	<-reading
	wantContent(t, target, newKey, before)
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantContent(t, target, newKey, after)
}

type readerAt func(p []byte, offset int64) (int, error)

func (r readerAt) ReadAt(p []byte, offset int64) (int, error) { return r(p, offset) }

// testAssembleFails: an error leaves nothing that somebody could take for the object.
func testAssembleFails(t *testing.T, target filesTarget) {
	const unit = publish.MinPiece
	mustAssemble(t, target, oldKey, randomBytes(1, unit))
	broken := errors.New("the disk is broken")
	content := readerAt(func([]byte, int64) (int, error) { return 0, broken })
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	sent := publish.Piece{Offset: unit, Length: 10}
	for name, c := range map[string]struct {
		ctx     context.Context
		pieces  []publish.Piece
		content io.ReaderAt
		want    error
	}{
		"content, alone":         {t.Context(), []publish.Piece{{Length: 10}}, content, broken},
		"content, behind a copy": {t.Context(), []publish.Piece{{From: oldKey, Length: unit}, sent}, content, broken},
		"nothing to copy from":   {t.Context(), []publish.Piece{{From: oldKey + "-gone", Length: unit}, sent}, bytes.NewReader(make([]byte, 2*unit)), publish.ErrNotFound},
		"cancelled":              {cancelled, []publish.Piece{{From: oldKey, Length: unit}, sent}, bytes.NewReader(make([]byte, 2*unit)), context.Canceled},
	} {
		if err := target.Assemble(c.ctx, newKey, c.pieces, c.content); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := target.Stat(t.Context(), newKey); !errors.Is(err, publish.ErrNotFound) {
			t.Errorf("%s: stat: %v, want ErrNotFound", name, err)
		}
	}
	if l, ok := any(target).(publish.Leftovers); ok {
		err := l.Leftovers(t.Context(), time.Now().Add(time.Hour), false, func(o publish.Object) error {
			t.Errorf("%s is left over", o.Key)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func testCopy(t *testing.T, target filesTarget) {
	for _, size := range []int{0, 1, 3 * manifest.ChunkSize} {
		body := randomBytes(byte(size), size)
		mustAssemble(t, target, oldKey, body)
		for range 2 { // also over itself
			if err := target.Copy(t.Context(), newKey, oldKey); err != nil {
				t.Fatal(err)
			}
			wantContent(t, target, newKey, body)
		}
		// They are two objects.
		mustAssemble(t, target, newKey, []byte("other"))
		wantContent(t, target, oldKey, body)
		if err := target.Copy(t.Context(), newKey, oldKey); err != nil {
			t.Fatal(err)
		}
		if err := target.Delete(t.Context(), oldKey); err != nil {
			t.Fatal(err)
		}
		wantContent(t, target, newKey, body)
	}
	if err := target.Copy(t.Context(), newKey, oldKey); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("copy of what is not there: %v, want ErrNotFound", err)
	}
}

// testCopyReplaces: nobody finds nothing while an object is replaced.
func testCopyReplaces(t *testing.T, target filesTarget) {
	before, after := randomBytes(1, 1000), randomBytes(2, 1000)
	mustAssemble(t, target, oldKey, after)
	mustAssemble(t, target, newKey, before)
	stop := readMeanwhile(t, target, newKey, 1, before, after)
	for range 20 {
		if err := target.Copy(t.Context(), newKey, oldKey); err != nil {
			t.Error(err)
		}
		mustAssemble(t, target, newKey, before)
	}
	stop()
}

// filesRecorder notes what is stored, in order.
type filesRecorder struct {
	recorder
	files publish.Files
}

func (r *filesRecorder) Copy(ctx context.Context, key, from string) error {
	return r.note("copy "+key, r.files.Copy(ctx, key, from))
}

func (r *filesRecorder) Assemble(ctx context.Context, key string, pieces []publish.Piece, content io.ReaderAt) error {
	return r.note(key, r.files.Assemble(ctx, key, pieces, content))
}

// testFilesOrder: the claim and the list of files first, then they, then what says that all are
// there, then the head, and what names the version last of all. What has not
// changed is copied.
func testFilesOrder(t *testing.T, segments publish.Target, files filesTarget) {
	r := &filesRecorder{recorder{Target: files}, files}
	s := NewStage(t, segments, r)
	for generation := range 2 {
		r.keys = nil
		receipt, err := s.Publish(t.Context(), s.Publisher, generation)
		if err != nil {
			t.Fatal(err)
		}
		version := Channel + "/" + Version(generation)
		var puts []string
		var sent int64
		for path, raw := range Raw(generation) {
			if generation > 0 && bytes.Equal(raw, Raw(generation - 1)[path]) {
				puts = append(puts, "copy "+version+"/"+path)
			} else {
				puts = append(puts, version+"/"+path)
				sent += int64(len(raw))
			}
		}
		slices.Sort(puts)
		x, _ := Generation(generation)
		index, _, err := x.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Concat([]string{version + ".claim.txt", version + "/files.txt"}, puts, []string{
			manifest.IndexKey(manifest.Sum(index)), manifest.ManifestKey(receipt.Manifest), version + ".meta.txt",
			manifest.HeadKey(Channel), manifest.CatalogKey, Channel + "/latest_version.meta.txt",
		})
		slices.Sort(r.keys[2 : 2+len(puts)])
		if diff := cmp.Diff(want, r.keys); diff != "" {
			t.Errorf("generation %d (-want +got):\n%s", generation, diff)
		}
		if receipt.FilesBytes != sent {
			t.Errorf("generation %d: %d bytes were sent, want %d", generation, receipt.FilesBytes, sent)
		}
	}
	s.WantPublished(1, 0)
}
