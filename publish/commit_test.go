package publish_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/targettest"
)

func TestCommitRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *manifest.Manifest, x *manifest.Index)
		says   string
	}{
		"same version":    {func(m *manifest.Manifest, _ *manifest.Index) { m.Version = targettest.Version(1) }, "not newer than " + targettest.Version(1)},
		"older version":   {func(m *manifest.Manifest, _ *manifest.Index) { m.Version = targettest.Version(0) }, "not newer"},
		"other channel":   {func(m *manifest.Manifest, _ *manifest.Index) { m.Channel = "other" }, "other"},
		"segment not put": {func(_ *manifest.Manifest, x *manifest.Index) { x.Files[0].Segments = make([]byte, manifest.DigestSize) }, "was not put"},
		"other size":      {func(_ *manifest.Manifest, x *manifest.Index) { x.Files[0].Frames[0]++ }, "bytes"},
		"bad path":        {func(_ *manifest.Manifest, x *manifest.Index) { x.Files[0].Path = "../escape" }, "escape"},
		"bad kind":        {func(m *manifest.Manifest, _ *manifest.Index) { m.Database.Kind = "" }, "kind"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStage(t)
			mustPublish(t, s, 0)
			mustPublish(t, s, 1)
			run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			x, err := targettest.PutGeneration(t.Context(), run, 2)
			if err != nil {
				t.Fatal(err)
			}
			m := targettest.NewManifest(2)
			c.change(m, x)
			receipt, err := run.Commit(t.Context(), m, x)
			wantError(t, err, c.says, targettest.Channel)
			if receipt.Version != "" {
				t.Errorf("receipt %+v", receipt)
			}
			s.WantPublished(1, 0)
		})
	}
}

// TestSegmentOfOlderVersion: the one before the previous may be pruned at any
// time, so its segments must be put again.
func TestSegmentOfOlderVersion(t *testing.T) {
	s, _ := newStage(t)
	mustPublish(t, s, 0)
	mustPublish(t, s, 1)
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	x, bodies := targettest.Generation(0)
	m := targettest.NewManifest(2)
	_, err = run.Commit(t.Context(), m, x)
	wantError(t, err, "was not put")
	for d, body := range bodies {
		if err := run.Put(t.Context(), d, body); err != nil {
			t.Fatal(err)
		}
	}
	receipt, err := run.Commit(t.Context(), m, x)
	if err != nil {
		t.Fatal(err)
	}
	if m.Previous != targettest.Version(1) || m.Files != len(x.Files) || m.Created == "" {
		t.Errorf("manifest %+v", m)
	}
	var stored int64
	for _, body := range bodies {
		stored += int64(len(body))
	}
	// Everything was there, apart from the manifest; the index was too.
	if head := s.Heads()[0].Snapshots[0]; receipt.ReusedBytes != stored || receipt.UploadedBytes != head.Size {
		t.Errorf("%+v, want %d reused and %d uploaded", receipt, stored, head.Size)
	}
	s.WantPublished(2, 1, 0)
}

// TestDamagedInTransit: what arrives on the target otherwise than it was sent is
// noticed before the head names it.
func TestDamagedInTransit(t *testing.T) {
	for _, prefix := range []string{"segments/", "indexes/", "manifests/"} {
		for manner, damage := range map[string]func([]byte) []byte{
			"flipped": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
			"cut":     func(b []byte) []byte { return b[:len(b)-1] },
			"longer":  func(b []byte) []byte { return append(b, 0) },
		} {
			t.Run(prefix+manner, func(t *testing.T) {
				target, _ := newDir(t)
				h := &hooked{Target: target}
				s := targettest.NewStage(t, target)
				mustPublish(t, s, 0)
				s.Publisher.Targets = []publish.Target{h}
				h.beforePut = func(key string, body []byte) []byte {
					if strings.HasPrefix(key, prefix) {
						return damage(body)
					}
					return body
				}
				_, err := s.Publish(t.Context(), s.Publisher, 1)
				wantError(t, err, prefix, "check what was stored")
				s.WantPublished(0)
			})
		}
	}
}

// TestHeadChangedMeanwhile: a renewed or pruned head is no reason to throw a
// run away; a new version is.
func TestHeadChangedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		other func(t *testing.T, s *targettest.Stage, p *publish.Publisher) error
		want  []int
	}{
		"renewed": {func(t *testing.T, _ *targettest.Stage, p *publish.Publisher) error {
			return p.Renew(t.Context(), targettest.Channel)
		}, []int{2, 1, 0}},
		"pruned": {func(t *testing.T, _ *targettest.Stage, p *publish.Publisher) error {
			_, err := p.Prune(t.Context(), map[string]publish.Keep{targettest.Channel: {Versions: 1}}, 0, false)
			return err
		}, []int{2, 1}},
		"published": {func(t *testing.T, s *targettest.Stage, p *publish.Publisher) error {
			_, err := s.Publish(t.Context(), p, 3)
			return err
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStage(t)
			mustPublish(t, s, 0)
			mustPublish(t, s, 1)
			run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			x, err := targettest.PutGeneration(t.Context(), run, 2)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.other(t, s, secondAgent(t, s)); err != nil {
				t.Fatal(err)
			}
			_, err = run.Commit(t.Context(), targettest.NewManifest(2), x)
			if c.want == nil {
				if !errors.Is(err, publish.ErrConflict) {
					t.Errorf("%v, want ErrConflict", err)
				}
				wantError(t, err, targettest.Version(3), "sequence 3")
				s.WantPublished(3, 1, 0)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s.WantPublished(c.want...)
		})
	}
}

// TestLostAnswer: the swap was applied and its answer lost. The run has won and
// must not say otherwise.
func TestLostAnswer(t *testing.T) {
	for _, answer := range []error{errors.New("connection reset"), publish.ErrConflict} {
		target, _ := newDir(t)
		h := &hooked{Target: target}
		s := targettest.NewStage(t, target)
		mustPublish(t, s, 0)
		s.Publisher.Targets = []publish.Target{h}
		h.swap = func(_ string, swap func() error) error { return errors.Join(answer, swap()) }
		if receipt := mustPublish(t, s, 1); receipt.Version != targettest.Version(1) {
			t.Errorf("%v: receipt %+v", answer, receipt)
		}
		s.WantPublished(1, 0)
	}
}

// TestSecondTargetFails: the version is public, and the receipt and the error
// say both.
func TestSecondTargetFails(t *testing.T) {
	first, _ := newDir(t)
	second, _ := newDir(t)
	s := targettest.NewStage(t, first, second)
	mustPublish(t, s, 0)
	broken := errors.New("connection reset")
	h := &hooked{Target: second, swap: func(string, func() error) error { return broken }}
	s.Publisher.Targets = []publish.Target{first, h}
	receipt, err := s.Publish(t.Context(), s.Publisher, 1)
	if !errors.Is(err, broken) || receipt.Version != targettest.Version(1) {
		t.Errorf("receipt %+v, %v", receipt, err)
	}
	wantError(t, err, "is published", "next run", second.String())
	h.swap = nil
	mustPublish(t, s, 2)
	s.WantPublished(2, 1, 0)
}

// TestLaggardIsNotSentTwice: recovery sends what is missing or broken on a
// target that lags behind, and nothing else.
func TestLaggardIsNotSentTwice(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, file string)
		sent  int
	}{
		"whole":  {func(*testing.T, string) {}, 0},
		"gone":   {func(t *testing.T, file string) { os.Remove(file) }, 1},
		"broken": {func(t *testing.T, file string) { os.Truncate(file, 3) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			first, _ := newDir(t)
			second, base := newDir(t)
			s := targettest.NewStage(t, first, second)
			mustPublish(t, s, 0)
			before := objects(t, base)
			h := &hooked{Target: second, swap: func(string, func() error) error { return errors.New("connection reset") }}
			s.Publisher.Targets = []publish.Target{first, h}
			if _, err := s.Publish(t.Context(), s.Publisher, 1); err == nil {
				t.Fatal("no error")
			}
			c.spoil(t, filepath.Join(base, missing(objects(t, base), before)[2])) // an index, a manifest, then the segments
			sent := 0
			h.swap = nil
			h.beforePut = func(_ string, body []byte) []byte { sent++; return body }
			run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
			if err != nil {
				t.Fatal(err)
			}
			if err := run.Close(); err != nil {
				t.Fatal(err)
			}
			s.WantPublished(1, 0)
			if sent != c.sent {
				t.Errorf("%d objects were sent, want %d", sent, c.sent)
			}
		})
	}
}

// TestCatalogOfManyAgents: agents that publish their channels at the same time
// keep each other's entries, and the first one of a chain stays its default.
func TestCatalogOfManyAgents(t *testing.T) {
	s, _ := newStage(t)
	mustPublish(t, s, 0)
	var wg sync.WaitGroup
	for i := range 6 {
		p := secondAgent(t, s)
		wg.Go(func() {
			if err := publishTo(t, p, fmt.Sprintf("channel-%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	note, _, err := s.Publisher.Targets[0].Load(t.Context(), manifest.CatalogKey)
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := s.Publisher.Policy.OpenCatalog(note, s.Publisher.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(catalog.Channels) != 7 || catalog.Sequence != 7 {
		t.Errorf("catalog %d: %v", catalog.Sequence, catalog.Channels)
	}
	if name, _ := catalog.Default(targettest.Chain); name != targettest.Channel {
		t.Errorf("the default is %s", name)
	}
	s.Publisher.Name = "somebody.else.example.org"
	_, err = s.Publish(t.Context(), s.Publisher, 1)
	wantError(t, err, "publisher.example.org", "somebody.else.example.org", "is published, but")
}

// publishTo publishes generation 0 on another channel.
func publishTo(t *testing.T, p *publish.Publisher, channel string) error {
	run, err := p.Begin(t.Context(), channel)
	if err != nil {
		return err
	}
	defer run.Close()
	x, err := targettest.PutGeneration(t.Context(), run, 0)
	if err != nil {
		return err
	}
	m := targettest.NewManifest(0)
	m.Channel = channel
	_, err = run.Commit(t.Context(), m, x)
	return err
}
