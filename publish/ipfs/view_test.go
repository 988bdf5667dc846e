package ipfs

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/targettest"
)

// stage publishes generations to a directory, with a view of it.
type stage struct {
	*targettest.Stage
	t      *testing.T
	base   string
	target *dir.Target
	view   *View
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, base: t.TempDir()}
	var err error
	if s.target, err = dir.New(s.base); err != nil {
		t.Fatal(err)
	}
	s.Stage = targettest.NewStage(t, s.target)
	s.open(t.TempDir())
	return s
}

func (s *stage) open(dir string) {
	s.t.Helper()
	view, err := OpenView(dir, s.target)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = view.Close() })
	s.view, s.Publisher.Addresses = view, view
}

// version is what is known of a published version.
type version struct {
	manifest *manifest.Manifest
	index    *manifest.Index
	object   []byte // of the index
	raw      map[string][]byte
}

func (s *stage) publish(generation int) *version {
	s.t.Helper()
	if _, err := s.Publish(s.t.Context(), s.Publisher, generation); err != nil {
		s.t.Fatal(err)
	}
	v := &version{raw: targettest.Raw(generation)}
	snapshot := s.Heads()[0].Snapshots[0]
	m, err := manifest.ParseManifest(s.object(manifest.ManifestKey(snapshot.Manifest)))
	if err != nil {
		s.t.Fatal(err)
	}
	v.manifest, v.object = m, s.object(manifest.IndexKey(m.Index.Digest))
	if v.index, err = manifest.ReadIndex(bytes.NewReader(v.object), m.Index.RawSize); err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *stage) add(v *version) {
	s.t.Helper()
	if err := s.view.Add(s.t.Context(), v.index, v.manifest.Index.Digest, v.object); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) object(key string) []byte {
	s.t.Helper()
	body, err := os.ReadFile(filepath.Join(s.base, key))
	if err != nil {
		s.t.Fatal(err)
	}
	return body
}

// filesOf reads a tree out of blocks, as somebody does who has its root alone.
func filesOf(ctx context.Context, blocks Blocks, root string) (map[string][]byte, error) {
	c, err := unixfs.ParseCID(root)
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	return all, readTree(ctx, blocks, "", c, all)
}

func readTree(ctx context.Context, blocks Blocks, path string, c unixfs.CID, all map[string][]byte) error {
	block, err := blocks.Get(ctx, c)
	if err != nil {
		return err
	}
	if size, err := blocks.Size(ctx, c); err != nil || size != len(block) {
		return errors.Join(err, errors.New("the size is not that of the block"))
	}
	if c.Codec == unixfs.Raw {
		all[path] = append(all[path], block...)
		return nil
	}
	links, _, err := unixfs.ParseNode(block)
	if err != nil {
		return err
	}
	for _, l := range links {
		below := path
		if l.Name != "" {
			below = strings.TrimPrefix(path+"/"+l.Name, "/")
		}
		if err := readTree(ctx, blocks, below, l.CID, all); err != nil {
			return err
		}
	}
	return nil
}

// wantTrees checks both trees of a version, block by block.
func (s *stage) wantTrees(v *version) {
	s.t.Helper()
	raw, err := filesOf(s.t.Context(), s.view, v.manifest.IPFS.Raw)
	if err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(v.raw, raw, cmp.Comparer(bytes.Equal)); diff != "" {
		s.t.Errorf("raw (-want +got):\n%s", diff)
	}
	objects, err := filesOf(s.t.Context(), s.view, v.manifest.IPFS.Zstd)
	if err != nil {
		s.t.Fatal(err)
	}
	want := map[string][]byte{manifest.IndexKey(v.manifest.Index.Digest): v.object}
	eachSegment(v.index, func(d manifest.Digest, _ int64) { want[manifest.SegmentKey(d)] = s.object(manifest.SegmentKey(d)) })
	if diff := cmp.Diff(want, objects, cmp.Comparer(bytes.Equal)); diff != "" {
		s.t.Errorf("zstd (-want +got):\n%s", diff)
	}
}

func TestView(t *testing.T) {
	s := newStage(t)
	first := s.publish(0)
	s.add(first)
	second := s.publish(1)
	if _, err := filesOf(t.Context(), s.view, second.manifest.IPFS.Raw); !errors.Is(err, ErrNotFound) {
		t.Errorf("a version that was not added: %v, want ErrNotFound", err)
	}
	s.add(second)
	s.add(second)
	s.wantTrees(first)
	s.wantTrees(second)
	for _, c := range []unixfs.CID{{Codec: unixfs.Raw, Digest: manifest.Sum([]byte("nobody has this"))}} {
		_, err := s.view.Size(t.Context(), c)
		if _, getErr := s.view.Get(t.Context(), c); !errors.Is(getErr, ErrNotFound) || !errors.Is(err, ErrNotFound) {
			t.Errorf("%v, %v, want ErrNotFound", getErr, err)
		}
	}
}

// TestViewMadeAnew: the table follows from what is published.
func TestViewMadeAnew(t *testing.T) {
	s := newStage(t)
	first := s.publish(0)
	s.open(t.TempDir())
	roots, err := s.view.Version(t.Context(), first.index, first.manifest.Index.Digest, first.object)
	if err != nil || *roots != *first.manifest.IPFS {
		t.Fatalf("%+v, %v, want %+v", roots, err, first.manifest.IPFS)
	}
	s.add(first)
	s.wantTrees(first)
	second := s.publish(1) // most segments of which it was not told of
	s.add(second)
	s.wantTrees(second)
}

// TestViewCutOff: an Add that was cut off is finished by the next.
func TestViewCutOff(t *testing.T) {
	s := newStage(t)
	v := s.publish(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.view.Add(ctx, v.index, v.manifest.Index.Digest, v.object); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	s.add(v)
	s.wantTrees(v)
}

// TestViewDamaged: what has changed on disk is an error, and never a wrong block.
func TestViewDamaged(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"a bit":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"shorter": func(b []byte) []byte { return b[:len(b)-1] },
		"gone":    func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			v := s.publish(0)
			s.add(v)
			f := &v.index.Files[0]
			object := filepath.Join(s.base, manifest.SegmentKey(f.Segment(0)))
			if body := damage(s.object(manifest.SegmentKey(f.Segment(0)))); body == nil {
				_ = os.Remove(object)
			} else if err := os.WriteFile(object, body, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, root := range []string{v.manifest.IPFS.Raw, v.manifest.IPFS.Zstd} {
				_, err := filesOf(t.Context(), s.view, root)
				if err == nil || errors.Is(err, ErrNotFound) {
					t.Errorf("%v, want that the block should be there", err)
				}
			}
		})
	}
}

// TestViewKeep: what was pruned goes, and the rest is served, also from the files.
func TestViewKeep(t *testing.T) {
	s := newStage(t)
	first, second := s.publish(0), s.publish(1)
	s.add(first)
	s.add(second)
	keep := map[manifest.Digest]bool{second.manifest.Index.Digest: true}
	if err := s.view.Keep(keep, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	s.wantTrees(first) // it may be younger than what is known
	if err := s.view.Keep(keep, time.Now()); err != nil {
		t.Fatal(err)
	}
	changed := unixfs.CID{Codec: unixfs.Raw, Digest: first.index.Files[0].Chunk(0)}
	for range 2 {
		s.wantTrees(second)
		if _, err := s.view.Get(t.Context(), changed); !errors.Is(err, ErrNotFound) {
			t.Errorf("a chunk of the first version: %v, want ErrNotFound", err)
		}
		if err := s.view.Close(); err != nil {
			t.Fatal(err)
		}
		s.open(s.view.dir)
	}
}

// TestViews: what one view adds is there for another of the same directory, without
// being read again.
func TestViews(t *testing.T) {
	s := newStage(t)
	other, err := OpenView(s.view.dir, s.target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	v := s.publish(0)
	if has, err := other.Has(v.manifest.Index.Digest); has || err != nil {
		t.Errorf("%t, %v, want no version yet", has, err)
	}
	s.add(v)
	if has, err := other.Has(v.manifest.Index.Digest); !has || err != nil {
		t.Errorf("%t, %v, want the version", has, err)
	}
	s.view = other
	s.wantTrees(v)
}

// TestViewDamagedTable: a table that is not what was written is made anew.
func TestViewDamagedTable(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"empty":   func([]byte) []byte { return nil },
		"magic":   func(b []byte) []byte { b[0]++; return b },
		"counts":  func(b []byte) []byte { b[len(tableMagic)+7]++; return b },
		"shorter": func(b []byte) []byte { return b[:len(b)-1] },
		"longer":  func(b []byte) []byte { return append(b, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			v := s.publish(0)
			s.add(v)
			path := s.view.path(v.manifest.Index.Digest)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s.open(s.view.dir)
			s.add(v)
			s.wantTrees(v)
		})
	}
}

// TestSite: a channel's tree is laid out as any location is.
func TestSite(t *testing.T) {
	s := newStage(t)
	v := s.publish(0)
	s.add(v)
	head := manifest.HeadKey(targettest.Channel)
	small := map[string][]byte{
		manifest.CatalogKey: s.object(manifest.CatalogKey), head: s.object(head),
		manifest.ManifestKey(s.Heads()[0].Snapshots[0].Manifest): s.object(manifest.ManifestKey(s.Heads()[0].Snapshots[0].Manifest)),
	}
	root, err := s.view.Site(t.Context(), targettest.Channel, small, v.manifest.IPFS)
	if err != nil {
		t.Fatal(err)
	}
	got, err := filesOf(t.Context(), s.view, root.String())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{manifest.IndexKey(v.manifest.Index.Digest): v.object}
	maps.Copy(want, small)
	eachSegment(v.index, func(d manifest.Digest, _ int64) { want[manifest.SegmentKey(d)] = s.object(manifest.SegmentKey(d)) })
	for path, body := range v.raw {
		want["raw/"+path] = body
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The next one takes its place.
	small[head] = []byte("another head")
	next, err := s.view.Site(t.Context(), targettest.Channel, small, v.manifest.IPFS)
	if err != nil || next == root {
		t.Fatalf("%s, %v", next, err)
	}
	if _, err := s.view.Get(t.Context(), root); !errors.Is(err, ErrNotFound) {
		t.Errorf("the former root: %v, want ErrNotFound", err)
	}
	if _, err := s.view.Site(t.Context(), targettest.Channel, map[string][]byte{"big": make([]byte, unixfs.LeafSize+1)}, v.manifest.IPFS); err == nil {
		t.Error("an object of several blocks is taken")
	}
}
