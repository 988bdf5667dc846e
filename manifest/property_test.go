package manifest

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"
)

// What is written is read as the same value, and written again as the same bytes.

func roundTrip[T interface{ Marshal() ([]byte, error) }](t *rapid.T, value T, parse func([]byte) (T, error)) {
	t.Helper()
	first, err := value.Marshal()
	if err != nil {
		t.Fatalf("write %+v: %v", value, err)
	}
	parsed, err := parse(first)
	if err != nil {
		t.Fatalf("read %q: %v", first, err)
	}
	if diff := cmp.Diff(value, parsed); diff != "" {
		t.Fatalf("read another value (-written +read):\n%s", diff)
	}
	second, err := parsed.Marshal()
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("wrote %q, then %q: %v", first, second, err)
	}
}

var (
	digests   = rapid.Map(rapid.SliceOfN(rapid.Byte(), DigestSize, DigestSize), func(b []byte) Digest { return Digest(b) })
	channels  = rapid.StringMatching(`[a-z0-9]{1,12}(-[a-z0-9]{1,12}){1,3}`)
	names     = rapid.StringMatching(`[!-*,-~]{1,40}`)
	texts     = rapid.StringMatching(`[ -~]{0,40}`)
	sequences = rapid.Int64Range(1, MaxSequence)
	times     = rapid.Map(rapid.Int64Range(0, 253402300799), func(s int64) time.Time { return time.Unix(s, 0).UTC() })
	versions  = rapid.Map(times, func(t time.Time) string { return t.Format(VersionFormat) })
	hashes    = rapid.Map(digests, func(d Digest) string { return "0x" + d.Hex() })
)

func TestHeadProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &Head{Channel: channels.Draw(t, "channel"), Sequence: sequences.Draw(t, "sequence"), Expires: times.Draw(t, "expires")}
		all := rapid.SliceOfNDistinct(versions, 1, 8, rapid.ID[string]).Draw(t, "versions")
		slices.Sort(all)
		for _, v := range slices.Backward(all) {
			h.Snapshots = append(h.Snapshots, Snapshot{Version: v, Manifest: digests.Draw(t, "manifest"), Size: rapid.Int64Range(1, MaxManifestSize).Draw(t, "size")})
		}
		roundTrip(t, h, ParseHead)
	})
}

func TestCatalogProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &Catalog{Publisher: names.Draw(t, "publisher"), Sequence: sequences.Draw(t, "sequence"), Expires: times.Draw(t, "expires")}
		for _, channel := range rapid.SliceOfNDistinct(channels, 1, 8, rapid.ID[string]).Draw(t, "channels") {
			c.Channels = append(c.Channels, CatalogChannel{Chain: channels.Draw(t, "chain"), Channel: channel})
		}
		roundTrip(t, c, ParseCatalog)
	})
}

func TestKeysProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := &Keys{Publisher: names.Draw(t, "publisher"), Sequence: sequences.Draw(t, "sequence"), Expires: times.Draw(t, "expires")}
		for _, name := range rapid.SliceOfNDistinct(names, 1, 8, rapid.ID[string]).Draw(t, "names") {
			key := digests.Draw(t, "key")
			v, err := note.NewEd25519VerifierKey(name, key[:])
			if err != nil {
				t.Fatal(err)
			}
			k.Verifiers = append(k.Verifiers, v)
		}
		slices.Sort(k.Verifiers)
		roundTrip(t, k, ParseKeys)
	})
}

func TestManifestProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Manifest{
			Channel: channels.Draw(t, "channel"), Version: versions.Draw(t, "version"), Created: FormatTime(times.Draw(t, "created")),
			Chain:    Chain{ID: channels.Draw(t, "chain")},
			Database: Database{Kind: "files"},
		}
		m.Describe(drawIndex(t), Ref{
			Digest:  digests.Draw(t, "index"),
			Size:    rapid.Int64Range(1, MaxIndexSize).Draw(t, "size"),
			RawSize: rapid.Int64Range(1, MaxIndexRawSize).Draw(t, "raw size"),
		})
		optional := func(what string) bool { return rapid.Bool().Draw(t, what) }
		if previous := versions.Draw(t, "previous"); previous < m.Version {
			m.Previous = previous
		}
		if optional("block") {
			m.Chain.Genesis = hashes.Draw(t, "genesis")
			m.Block = &Block{Number: rapid.Int64Range(0, MaxSequence).Draw(t, "number"), Hash: hashes.Draw(t, "hash"), Finalized: optional("finalized")}
		}
		if optional("node") {
			m.Node = &Node{Implementation: texts.Draw(t, "implementation"), Version: texts.Draw(t, "version")}
		}
		if optional("database") {
			m.Database = Database{Kind: "rocksdb", Directory: "chains/x/db", StatePruning: "archive-canonical", BlocksPruning: "256"}
			m.Database.VersionFiles = map[string]string{"full/db_version": texts.Draw(t, "db_version"), "db_version": "6\n"}
		}
		if optional("places") {
			use := rapid.SampledFrom([]Use{"", UseLast, UseNever})
			m.Locations = []Location{{Type: "s3", URL: "s3://" + names.Draw(t, "url"), Use: use.Draw(t, "use")}}
			cid := rapid.StringMatching(`b[a-z2-7]{58}`)
			m.IPFS = &IPFS{Raw: cid.Draw(t, "raw"), Zstd: cid.Draw(t, "zstd"), Use: rapid.SampledFrom([]Use{"", UseNever}).Draw(t, "use of IPFS")}
		}
		roundTrip(t, m, ParseManifest)
	})
}

// drawIndex makes an index whose digests are of nothing.
func drawIndex(t *rapid.T) *Index {
	paths := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}(/[A-Z0-9_-]{1,3}){1,3}\.sst`), 0, 12, strings.ToLower).Draw(t, "paths")
	sort.Strings(paths)
	x := &Index{Files: []File{}}
	for _, p := range paths {
		f := File{Path: p, Mode: rapid.Uint32Range(0, 0o777).Draw(t, "mode")}
		f.Size = rapid.OneOf(rapid.Int64Range(0, 40*ChunkSize), rapid.Map(rapid.Int64Range(0, 40), func(n int64) int64 { return n * ChunkSize })).Draw(t, "size")
		some := digests.Draw(t, "digest")
		f.Chunks = bytes.Repeat(some[:], f.ChunkCount())
		f.Segments = bytes.Repeat(some[:], f.SegmentCount())
		f.Frames = make([]uint32, f.ChunkCount())
		for i := range f.Frames {
			f.Frames[i] = rapid.Uint32Range(1, MaxFrameSize).Draw(t, "frame")
		}
		x.Files = append(x.Files, f)
	}
	if checkPaths(x.Files) != nil {
		t.Skip("directories that differ by case only")
	}
	return x
}

func TestIndexProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawIndex(t)
		object, rawSize, err := x.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := ReadIndex(bytes.NewReader(object), rawSize)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(x, parsed); diff != "" {
			t.Fatalf("read another index (-written +read):\n%s", diff)
		}
		again, _, err := parsed.Marshal()
		if err != nil || !bytes.Equal(object, again) {
			t.Fatalf("wrote other bytes the second time: %v", err)
		}
	})
}

// Every chunk lies in exactly one segment, in order; the tail is as long as
// the format says.
func TestSegmentsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chunks := rapid.OneOf(rapid.Int64Range(0, 100), rapid.Int64Range(0, MaxFileSize/ChunkSize)).Draw(t, "chunks")
		segments := SegmentCount(chunks)
		from := max(0, segments-5)
		next := from * SegmentChunks
		for i := from; i < segments; i++ {
			first, n := SegmentSpan(chunks, i)
			least, most := int64(SegmentChunks), int64(SegmentChunks)
			if i == segments-1 {
				most = MaxSegmentChunks
				if least = MinTailChunks; segments == 1 {
					least = 1
				}
			}
			if first != next || n < least || n > most {
				t.Fatalf("%d chunks: segment %d of %d has %d chunks from %d", chunks, i, segments, n, first)
			}
			for c := first; c < first+n; c++ {
				if SegmentOf(chunks, c) != i {
					t.Fatalf("%d chunks: chunk %d is in segment %d, want %d", chunks, c, SegmentOf(chunks, c), i)
				}
			}
			next += n
		}
		if next != chunks {
			t.Fatalf("%d chunks: the segments hold %d", chunks, next)
		}
	})
}

// checkPaths takes short cuts; this is what it means.
func TestCheckPathsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfNDistinct(rapid.StringMatching(`[aAbB.]{1,2}(/[aAb!]{1,2}){0,3}`), 0, 6, rapid.ID[string]).Draw(t, "paths")
		sort.Strings(paths)
		files := make([]File, len(paths))
		spelt := map[string]string{} // folded path or directory → its one spelling
		isFile := map[string]bool{}
		safe := true
		for i, p := range paths {
			files[i].Path = p
			for at := range len(p) + 1 {
				if at < len(p) && p[at] != '/' {
					continue
				}
				name, folded := p[:at], strings.ToLower(p[:at])
				if other, known := spelt[folded]; known && (other != name || isFile[folded] || at == len(p)) {
					safe = false
				}
				spelt[folded], isFile[folded] = name, isFile[folded] || at == len(p)
			}
		}
		if err := checkPaths(files); (err == nil) != safe {
			t.Fatalf("%q: got %v, want safe %v", paths, err, safe)
		}
	})
}

func TestLimitsAgree(t *testing.T) {
	chunks := int64(MaxRawSize / ChunkSize)
	if need := chunks*(DigestSize*4/3+DigestSize*4/3/SegmentChunks+int64(len(fmt.Sprint(MaxFrameSize, ",")))) + MaxFiles*minLine; need > MaxIndexRawSize {
		t.Errorf("an index of %d bytes of files needs %d bytes", int64(MaxRawSize), need)
	}
	if chunks := ChunkCount(MaxFileSize); chunks > math.MaxInt32 {
		t.Errorf("%d chunks of a file do not fit an int everywhere", chunks)
	}
	catalog := &Catalog{Publisher: "p", Sequence: MaxSequence, Expires: time.Unix(0, 0)}
	for i := range MaxChannels {
		name := fmt.Sprintf("%0*d", MaxChannelName, i)
		catalog.Channels = append(catalog.Channels, CatalogChannel{Chain: name, Channel: name})
	}
	if text, err := catalog.Marshal(); err != nil || len(text) > MaxCatalogSize*3/4 {
		t.Errorf("the largest catalog has %d bytes and leaves too little for signatures: %v", len(text), err)
	}
}
