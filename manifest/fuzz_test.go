package manifest

import (
	"bytes"
	"errors"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// What parses is written as the very bytes it was read from, and what does not
// fails with a class of this package.

func checkClass(t *testing.T, err error) {
	t.Helper()
	for _, class := range classes {
		if class != nil && errors.Is(err, class) {
			return
		}
	}
	t.Fatalf("an error without a class: %v", err)
}

func addVectors(f *testing.F, object string) {
	for _, v := range readVectors(f) {
		if b := v.bytes(); v.Object == object && len(b) < 8<<10 {
			f.Add(b)
		}
	}
}

func fuzzText[T interface{ Marshal() ([]byte, error) }](f *testing.F, object string, limit int, parse func([]byte) (T, error)) {
	addVectors(f, object)
	f.Fuzz(func(t *testing.T, b []byte) {
		parsed, err := parse(b)
		if err != nil {
			checkClass(t, err)
			return
		}
		again, err := parsed.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q is written as %q: %v", b, again, err)
		}
		if len(b) > limit {
			t.Fatalf("read %d bytes, the limit is %d", len(b), limit)
		}
	})
}

func FuzzParseHead(f *testing.F)     { fuzzText(f, "head", MaxHeadSize, ParseHead) }
func FuzzParseCatalog(f *testing.F)  { fuzzText(f, "catalog", MaxCatalogSize, ParseCatalog) }
func FuzzParseKeys(f *testing.F)     { fuzzText(f, "keys", MaxKeysSize, ParseKeys) }
func FuzzParseManifest(f *testing.F) { fuzzText(f, "manifest", MaxManifestSize, ParseManifest) }

func FuzzReadLines(f *testing.F) {
	addVectors(f, "index-lines")
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ReadLines(bytes.NewReader(b))
		if err != nil {
			checkClass(t, err)
			return
		}
		var again bytes.Buffer
		if err := x.WriteLines(&again); err != nil || !bytes.Equal(again.Bytes(), b) {
			t.Fatalf("%q is written as %q: %v", b, again.Bytes(), err)
		}
		checkIndexLimits(t, x)
	})
}

func FuzzReadIndex(f *testing.F) {
	for _, v := range readVectors(f) {
		if b := v.bytes(); v.Object == "index" && len(b) < 8<<10 {
			f.Add(b, v.RawSize)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, rawSize int64) {
		rawSize = min(rawSize, 1<<20) // a legal bomb takes a second each
		x, err := ReadIndex(bytes.NewReader(b), rawSize)
		if err != nil {
			checkClass(t, err)
			return
		}
		object, again, err := x.Marshal()
		if err != nil || again != rawSize {
			t.Fatalf("an index of %d bytes is written as %d: %v", rawSize, again, err)
		}
		if _, err := ReadIndex(bytes.NewReader(object), again); err != nil {
			t.Fatal(err)
		}
		checkIndexLimits(t, x)
	})
}

func checkIndexLimits(t *testing.T, x *Index) {
	t.Helper()
	totals := x.Totals()
	if totals.Files > MaxFiles || totals.RawSize > MaxRawSize || totals.StoredSize > totals.Chunks*MaxFrameSize {
		t.Fatalf("read an index over the limits: %+v", totals)
	}
	for i := range x.Files {
		f := &x.Files[i]
		if err := CheckPath(f.Path); err != nil {
			t.Fatal(err)
		}
		for s := range f.SegmentCount() {
			if first, n := f.SegmentSpan(s); n > MaxSegmentChunks || first+n > f.ChunkCount() {
				t.Fatalf("%s: segment %d has %d chunks from %d", f.Path, s, n, first)
			}
		}
	}
}

func FuzzDecodeFrame(f *testing.F) {
	for _, v := range readVectors(f) {
		if b := v.bytes(); v.Object == "frame" && len(b) < 8<<10 {
			f.Add(b, v.Size)
		}
	}
	dec, enc, room := newDecoder(f), newEncoder(f, 1), make([]byte, 0, ChunkSize+decodeRoom)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		chunk, err := dec.Decode(bytes.Clone(b), nil, size)
		if err != nil {
			checkClass(t, err)
			return
		}
		if len(chunk) != size || size > ChunkSize {
			t.Fatalf("decoded %d bytes as a chunk of %d", len(chunk), size)
		}
		// A chunk has many frames; ours must be one of them.
		again, err := dec.Decode(enc.Append(nil, chunk), nil, size)
		if err != nil || !bytes.Equal(again, chunk) {
			t.Fatalf("written again it is another chunk: %v", err)
		}
		// And what was read must not depend on the room there was.
		roomy, err := dec.Decode(bytes.Clone(b), room, size)
		if err != nil || !bytes.Equal(roomy, chunk) {
			t.Fatalf("decoded with more room it is another chunk: %v", err)
		}
	})
}

func FuzzCheckPath(f *testing.F) {
	addVectors(f, "path")
	f.Fuzz(func(t *testing.T, b []byte) {
		p := string(b)
		if err := CheckPath(p); err != nil {
			checkClass(t, err)
			return
		}
		// Whatever is allowed stays below its root and needs no escaping.
		if !filepath.IsLocal(p) || path.Clean(p) != p || len(p) > MaxPathLength || strings.ContainsAny(p, `\"`) {
			t.Fatalf("%q is allowed", p)
		}
		x := &Index{Files: []File{{Path: p}}}
		var lines bytes.Buffer
		if err := x.WriteLines(&lines); err != nil {
			t.Fatal(err)
		}
		again, err := ReadLines(&lines)
		if err != nil || again.Files[0].Path != p {
			t.Fatalf("%q is read as %+v: %v", p, again, err)
		}
	})
}
