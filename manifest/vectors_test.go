package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// vector is a line of testdata/vectors.jsonl; FORMAT.md describes it.
type vector struct {
	Name    string
	Object  string
	Class   string
	RawSize int64 `json:"raw_size"`
	Size    int
	Chunk   Digest
	Bytes   []struct {
		Text   string
		Base64 []byte
		Times  int
	}
}

func (v *vector) bytes() []byte {
	var b []byte
	for _, part := range v.Bytes {
		b = append(b, bytes.Repeat(append([]byte(part.Text), part.Base64...), max(part.Times, 1))...)
	}
	return b
}

var classes = map[string]error{"ok": nil, "malformed": ErrMalformed, "version": ErrVersion, "limit": ErrLimit, "path": ErrPath}

func readVectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	for dec.More() {
		v := vector{}
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("vector %d: %v", len(all)+1, err)
		}
		all = append(all, v)
	}
	return all
}

func TestVectors(t *testing.T) {
	dec := newDecoder(t)
	seen := map[string]bool{}
	for _, v := range readVectors(t) {
		name := v.Object + ": " + v.Name
		if seen[name] {
			t.Errorf("%s: stands twice", name)
		}
		seen[name] = true
		t.Run(name, func(t *testing.T) {
			want, known := classes[v.Class]
			if !known {
				t.Fatalf("unknown class %q", v.Class)
			}
			again, err := reencode(dec, &v)
			if !errors.Is(err, want) {
				t.Fatalf("got %v, want %v", err, want)
			}
			if want == nil && !bytes.Equal(again, v.bytes()) {
				t.Errorf("encodes to %q", again)
			}
			for class, other := range classes {
				if other != nil && class != v.Class && errors.Is(err, other) {
					t.Errorf("%v is also of class %s", err, class)
				}
			}
		})
	}
}

// reencode parses the bytes of a vector and writes what it has read.
func reencode(dec *FrameDecoder, v *vector) ([]byte, error) {
	b := v.bytes()
	switch v.Object {
	case "head":
		return marshal(ParseHead(b))
	case "catalog":
		return marshal(ParseCatalog(b))
	case "keys":
		return marshal(ParseKeys(b))
	case "manifest":
		return marshal(ParseManifest(b))
	case "index-lines":
		x, err := ReadLines(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		var lines bytes.Buffer
		err = x.WriteLines(&lines)
		return lines.Bytes(), err
	case "index": // how it is compressed is the writer's choice
		_, err := ReadIndex(bytes.NewReader(b), v.RawSize)
		return b, err
	case "frame": // likewise
		chunk, err := dec.Decode(bytes.Clone(b), nil, v.Size)
		if err == nil && Sum(chunk) != v.Chunk {
			return nil, errors.New("another chunk")
		}
		return b, err
	case "path":
		return b, CheckPath(string(b))
	}
	return nil, errors.New("unknown object " + v.Object)
}

func marshal[T interface{ Marshal() ([]byte, error) }](parsed T, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return parsed.Marshal()
}

func goodFile(t testing.TB, key string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/good/" + key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The good objects hang together as a publisher's do: from the head down to
// the chunks, every name is right.
func TestGoodObjects(t *testing.T) {
	const channel = "polkadot-rocksdb-archive"
	text, _, _ := strings.Cut(string(goodFile(t, HeadKey(channel))), "\n\n")
	head, err := ParseHead([]byte(text + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	object := goodFile(t, ManifestKey(head.Snapshots[0].Manifest))
	if Sum(object) != head.Snapshots[0].Manifest || int64(len(object)) != head.Snapshots[0].Size {
		t.Error("the manifest is not what the head names")
	}
	m, err := ParseManifest(object)
	if err != nil {
		t.Fatal(err)
	}
	if m.Channel != channel || m.Version != head.Snapshots[0].Version {
		t.Error("the manifest is not of the head's channel and version")
	}
	object = goodFile(t, IndexKey(m.Index.Digest))
	if Sum(object) != m.Index.Digest || int64(len(object)) != m.Index.Size {
		t.Error("the index is not what the manifest names")
	}
	x, err := ReadIndex(bytes.NewReader(object), m.Index.RawSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.CheckIndex(x); err != nil {
		t.Error(err)
	}
	var lines bytes.Buffer
	if err := x.WriteLines(&lines); err != nil || !bytes.Equal(lines.Bytes(), goodFile(t, "index.jsonl")) {
		t.Errorf("the index has other lines than index.jsonl: %v", err)
	}
	dec := newDecoder(t)
	for i := range x.Files {
		f := &x.Files[i]
		for s := range f.SegmentCount() {
			segment := goodFile(t, SegmentKey(f.Segment(s)))
			if Sum(segment) != f.Segment(s) {
				t.Errorf("%s: segment %d is not what the index names", f.Path, s)
			}
			first, n := f.SegmentSpan(s)
			for c := first; c < first+n; c++ {
				chunk, err := dec.Decode(segment[:f.Frames[c]], nil, f.ChunkLength(c))
				if err != nil || Sum(chunk) != f.Chunk(c) {
					t.Errorf("%s: chunk %d: %v", f.Path, c, err)
				}
				segment = segment[f.Frames[c]:]
			}
			if len(segment) > 0 {
				t.Errorf("%s: segment %d has %d bytes behind its frames", f.Path, s, len(segment))
			}
		}
	}
}
