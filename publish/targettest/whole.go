package targettest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// CheckWhole looks at every target as a stranger: whatever its head names must
// be there, and each chunk of it must be what the index says. It returns the
// heads.
func (s *Stage) CheckWhole() []*manifest.Head {
	s.t.Helper()
	heads := s.Heads()
	for i, head := range heads {
		if head == nil {
			continue
		}
		for _, snapshot := range head.Snapshots {
			if err := s.restore(s.targets[i], snapshot); err != nil {
				s.t.Fatalf("%s: head %d names version %s, which cannot be restored: %v", s.targets[i], head.Sequence, snapshot.Version, err)
			}
		}
	}
	return heads
}

func (s *Stage) restore(target publish.Target, snapshot manifest.Snapshot) error {
	body, err := s.read(target, manifest.ManifestKey(snapshot.Manifest), snapshot.Manifest, snapshot.Size)
	if err != nil {
		return err
	}
	m, err := manifest.ParseManifest(body)
	if err != nil {
		return err
	}
	if body, err = s.read(target, manifest.IndexKey(m.Index.Digest), m.Index.Digest, m.Index.Size); err != nil {
		return err
	}
	x, err := manifest.ReadIndex(bytes.NewReader(body), m.Index.RawSize)
	if err != nil {
		return err
	}
	if err := m.CheckIndex(x); err != nil {
		return err
	}
	if _, files := target.(publish.Files); files {
		return s.restoreFiles(target, m, x)
	}
	for i := range x.Files {
		if err := s.restoreFile(target, &x.Files[i]); err != nil {
			return fmt.Errorf("file %s: %w", x.Files[i].Path, err)
		}
	}
	return nil
}

// restoreFiles reads a version as tools do that know nothing of indexes, and
// compares.
func (s *Stage) restoreFiles(target publish.Target, m *manifest.Manifest, x *manifest.Index) error {
	version := Channel + "/" + m.Version
	list, err := s.text(target, version+"/files.txt")
	if err != nil {
		return err
	}
	paths := strings.Fields(list)
	if len(paths) != len(x.Files) {
		return fmt.Errorf("files.txt has %q, want %d paths", paths, len(x.Files))
	}
	for i, path := range paths {
		f := &x.Files[i]
		o, err := target.Stat(s.t.Context(), version+"/"+path)
		if err != nil {
			return fmt.Errorf("file %d: %w", i, err)
		}
		if path != f.Path || o.Size != f.Size {
			return fmt.Errorf("file %d is %s of %d bytes, want %s of %d", i, path, o.Size, f.Path, f.Size)
		}
		for c := range f.ChunkCount() {
			if c > 0 && c < f.ChunkCount()-1 {
				continue // it is in the big file of zeros, which is read a thousand times
			}
			chunk, err := target.Read(s.t.Context(), o.Key, int64(c)*manifest.ChunkSize, int64(f.ChunkLength(c)))
			if err != nil {
				return fmt.Errorf("%s: chunk %d: %w", path, c, err)
			}
			if manifest.Sum(chunk) != f.Chunk(c) {
				return fmt.Errorf("%s: chunk %d is another one", path, c)
			}
		}
	}
	meta, err := s.text(target, version+".meta.txt")
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("size: %d\nversion: %s\n", m.RawSize, m.Version); meta != want {
		return fmt.Errorf("%s.meta.txt is %q, want %q", version, meta, want)
	}
	return nil
}

// text reads an object whose size nobody has said.
func (s *Stage) text(target publish.Target, key string) (string, error) {
	o, err := target.Stat(s.t.Context(), key)
	if err != nil {
		return "", fmt.Errorf("stat %s: %w", key, err)
	}
	body, err := target.Read(s.t.Context(), key, 0, o.Size)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	return string(body), nil
}

// decoded has the digests of segments together with the chunks that they hold.
var decoded sync.Map

func (s *Stage) restoreFile(target publish.Target, f *manifest.File) error {
	decoder, err := manifest.NewFrameDecoder()
	if err != nil {
		return err
	}
	for i := range f.SegmentCount() {
		first, n := f.SegmentSpan(i)
		var size int64
		for _, frame := range f.Frames[first : first+n] {
			size += int64(frame)
		}
		body, err := s.read(target, manifest.SegmentKey(f.Segment(i)), f.Segment(i), size)
		if err != nil {
			return err
		}
		// Segments are the same in thousands of rounds: decode each one once.
		content := manifest.Sum(append(f.Segments[i*manifest.DigestSize:][:manifest.DigestSize:manifest.DigestSize], f.Chunks[first*manifest.DigestSize:(first+n)*manifest.DigestSize]...))
		if _, known := decoded.Load(content); known {
			continue
		}
		for c := first; c < first+n; c++ {
			frame := body[:f.Frames[c]]
			body = body[f.Frames[c]:]
			chunk, err := decoder.Decode(frame, nil, f.ChunkLength(c))
			if err != nil {
				return err
			}
			if manifest.Sum(chunk) != f.Chunk(c) {
				return fmt.Errorf("chunk %d is another one", c)
			}
		}
		decoded.Store(content, true)
	}
	return nil
}

// read reads an object and checks it.
func (s *Stage) read(target publish.Target, key string, d manifest.Digest, size int64) ([]byte, error) {
	o, err := target.Stat(s.t.Context(), key)
	if err != nil {
		return nil, fmt.Errorf("stat %s: %w", key, err)
	}
	if o.Size != size {
		return nil, fmt.Errorf("%s has %d bytes, not %d", key, o.Size, size)
	}
	body, err := target.Read(s.t.Context(), key, 0, size)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if manifest.Sum(body) != d {
		return nil, fmt.Errorf("%s has other content than its name says", key)
	}
	return body, nil
}

// WantPublished checks that all targets name the generations, newest first, and
// list the channel.
func (s *Stage) WantPublished(generations ...int) {
	s.t.Helper()
	for i, head := range s.CheckWhole() {
		var got, want []string
		if head != nil {
			for _, snapshot := range head.Snapshots {
				got = append(got, snapshot.Version)
			}
		}
		for _, g := range generations {
			want = append(want, Version(g))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			s.t.Fatalf("%s names versions %v, want %v", s.targets[i], got, want)
		}
		signed, _, err := s.targets[i].Load(s.t.Context(), manifest.CatalogKey)
		if err != nil {
			s.t.Fatal(err)
		}
		catalog, err := s.Publisher.Policy.OpenCatalog(signed, s.Publisher.Now())
		if err != nil {
			s.t.Fatalf("%s: %v", s.targets[i], err)
		}
		if name, _ := catalog.Default(Chain); name != Channel {
			s.t.Fatalf("%s: the catalog lists %v", s.targets[i], catalog.Channels)
		}
		if _, files := s.targets[i].(publish.Files); files {
			latest, err := s.text(s.targets[i], Channel+"/latest_version.meta.txt")
			if err != nil || latest != want[0]+"\n" {
				s.t.Fatalf("%s: the latest version is %q, %v, want %s", s.targets[i], latest, err, want[0])
			}
		}
	}
}
