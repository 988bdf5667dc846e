package fetcher_test

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
)

const testChannel = "testnet-files-archive"

// testTime is when the tests take place.
var testTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// publisher writes published trees, by the format alone.
type publisher struct {
	t        testing.TB
	base     string // directory of the published tree
	kind     string
	signer   note.Signer
	verifier string
	sequence int64
	expires  time.Time
	live     []manifest.Snapshot
	enc      *manifest.FrameEncoder
	raw      bool // raw files in place of segments
}

// bothLayouts runs a test with a publisher of segments and with one of raw files.
func bothLayouts(t *testing.T, test func(t *testing.T, p *publisher)) {
	for _, raw := range []bool{false, true} {
		t.Run(map[bool]string{false: "segments", true: "files"}[raw], func(t *testing.T) {
			if raw && testing.Short() {
				t.Skip("the goroutines are the same, and TestMixedLayouts has them")
			}
			p := newPublisher(t)
			p.raw = raw
			test(t, p)
		})
	}
}

// isData reports whether a key is not one of the small objects that are read first.
func isData(key string) bool {
	return strings.HasPrefix(key, "segments/") || strings.HasPrefix(key, testChannel+"/") && strings.Count(key, "/") > 1
}

func newPublisher(t testing.TB) *publisher {
	t.Helper()
	skey, vkey, err := trust.GenerateKey("test.example.org")
	check(t, err)
	signer, err := trust.NewSigner(skey)
	check(t, err)
	enc, err := manifest.NewFrameEncoder(1, 3)
	check(t, err)
	return &publisher{t: t, base: t.TempDir(), kind: "files", signer: signer, verifier: vkey, expires: testTime.Add(24 * time.Hour), enc: enc}
}

// files is the content of a directory by path.
type files map[string][]byte

// publish adds a version and makes it the newest.
func (p *publisher) publish(version string, content files) *manifest.Manifest {
	p.t.Helper()
	x := &manifest.Index{}
	for path, body := range content {
		x.Files = append(x.Files, p.file(path, body))
	}
	sort.Slice(x.Files, func(i, j int) bool { return x.Files[i].Path < x.Files[j].Path })
	if p.raw {
		p.putRaw(version, content)
	}
	return p.seal(version, x)
}

// putRaw lays a version out as section 2 of FORMAT.md says of raw files.
func (p *publisher) putRaw(version string, content files) {
	p.t.Helper()
	size, list := 0, ""
	for _, path := range slices.Sorted(maps.Keys(content)) {
		p.put(manifest.RawFileKey(testChannel, version, path), content[path])
		size += len(content[path])
		list += path + "\n"
	}
	p.put(testChannel+"/"+version+"/files.txt", []byte(list))
	p.put(manifest.VersionMetaKey(testChannel, version), fmt.Appendf(nil, "size: %d\nversion: %s\n", size, version))
	p.put(testChannel+"/latest_version.meta.txt", []byte(version+"\n"))
}

// rawTwin is another place of the same publisher, with the raw files of a version
// in place of the segments.
func (p *publisher) rawTwin(version string, content files) string {
	p.t.Helper()
	twin := *p
	twin.base = p.t.TempDir()
	check(p.t, os.CopyFS(twin.base, os.DirFS(p.base)))
	check(p.t, os.RemoveAll(filepath.Join(twin.base, "segments")))
	twin.putRaw(version, content)
	return twin.base
}

// file seals a file's segments.
func (p *publisher) file(path string, body []byte) manifest.File {
	f := manifest.File{Path: path, Size: int64(len(body)), Mode: 0o640}
	for i := range f.ChunkCount() {
		digest := manifest.Sum(body[i*manifest.ChunkSize:][:f.ChunkLength(i)])
		f.Chunks = append(f.Chunks, digest[:]...)
	}
	for s := range f.SegmentCount() {
		first, n := f.SegmentSpan(s)
		var segment []byte
		for i := first; i < first+n; i++ {
			before := len(segment)
			segment = p.enc.Append(segment, body[i*manifest.ChunkSize:][:f.ChunkLength(i)])
			f.Frames = append(f.Frames, uint32(len(segment)-before))
		}
		digest := manifest.Sum(segment)
		f.Segments = append(f.Segments, digest[:]...)
		if !p.raw {
			p.put(manifest.SegmentKey(digest), segment)
		}
	}
	return f
}

func (p *publisher) seal(version string, x *manifest.Index) *manifest.Manifest {
	p.t.Helper()
	object, rawSize, err := x.Marshal()
	check(p.t, err)
	m := &manifest.Manifest{
		Channel: testChannel, Version: version, Created: manifest.FormatTime(testTime),
		Chain: manifest.Chain{ID: "testnet"}, Database: manifest.Database{Kind: p.kind},
	}
	m.Describe(x, manifest.Ref{Digest: manifest.Sum(object), Size: int64(len(object)), RawSize: rawSize})
	p.put(manifest.IndexKey(m.Index.Digest), object)
	text, err := m.Marshal()
	check(p.t, err)
	p.put(manifest.ManifestKey(manifest.Sum(text)), text)
	p.live = append([]manifest.Snapshot{{Version: version, Manifest: manifest.Sum(text), Size: int64(len(text))}}, p.live...)
	p.sign()
	return m
}

// sign writes the head.
func (p *publisher) sign() {
	p.t.Helper()
	p.sequence++
	head := &manifest.Head{Channel: testChannel, Sequence: p.sequence, Expires: p.expires, Snapshots: p.live}
	p.put(manifest.HeadKey(testChannel), p.note(head.Marshal()))
	catalog := &manifest.Catalog{Publisher: p.signer.Name(), Sequence: p.sequence, Expires: p.expires,
		Channels: []manifest.CatalogChannel{{Chain: "testnet", Channel: testChannel}}}
	p.put(manifest.CatalogKey, p.note(catalog.Marshal()))
}

func (p *publisher) note(text []byte, err error) []byte {
	p.t.Helper()
	check(p.t, err)
	signed, err := trust.Sign(text, p.signer)
	check(p.t, err)
	return signed
}

func (p *publisher) put(key string, body []byte) {
	p.t.Helper()
	path := filepath.Join(p.base, filepath.FromSlash(key))
	check(p.t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(p.t, os.WriteFile(path, body, 0o644))
}

// repository is the tree as a client with a fresh state sees it.
func (p *publisher) repository(sources ...fetcher.Source) *fetcher.Repository {
	p.t.Helper()
	policy, err := trust.NewPolicy([]string{p.verifier}, 1)
	check(p.t, err)
	if len(sources) == 0 {
		sources = []fetcher.Source{openSource(p.t, p.base)}
	}
	return &fetcher.Repository{
		Sources: sources, Policy: policy, Marks: trust.Marks{Dir: p.t.TempDir()},
		Now: func() time.Time { return testTime }, Log: testLog(p.t),
	}
}

func openSource(t testing.TB, url string) fetcher.Source {
	t.Helper()
	s, err := source.Open(url)
	check(t, err)
	return s
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content reads a directory back.
func content(t testing.TB, dir string) files {
	t.Helper()
	got := files{}
	check(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		got[filepath.ToSlash(rel)] = body
		return err
	}))
	return got
}

// sameContent reports the first difference between two trees.
func sameContent(t testing.TB, got, want files) {
	t.Helper()
	for path := range want {
		if _, ok := got[path]; !ok {
			t.Errorf("%s is missing", path)
		}
	}
	for path, body := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s is there and should not be", path)
		} else if string(body) != string(want[path]) {
			t.Errorf("%s differs", path)
		}
	}
}
