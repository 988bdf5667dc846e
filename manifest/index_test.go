package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The largest file fits, and so do as many of them as the limit of the sum
// allows; one byte more does not.
func TestIndexLimitOfSum(t *testing.T) {
	const chunks = MaxFileSize / ChunkSize
	largest := File{Size: MaxFileSize, Chunks: make([]byte, chunks*DigestSize), Frames: make([]uint32, chunks)}
	largest.Segments = make([]byte, largest.SegmentCount()*DigestSize)
	for i := range largest.Frames {
		largest.Frames[i] = MaxFrameSize
	}
	x := &Index{}
	for i := range MaxRawSize / MaxFileSize {
		largest.Path = fmt.Sprintf("%02d", i)
		x.Files = append(x.Files, largest)
	}
	if err := x.Check(); err != nil {
		t.Error(err)
	}
	x.Files = append(x.Files, File{
		Path: "one byte", Size: 1,
		Chunks: make([]byte, DigestSize), Segments: make([]byte, DigestSize), Frames: []uint32{28},
	})
	if err := x.Check(); !errors.Is(err, ErrLimit) {
		t.Errorf("got %v, want %v", err, ErrLimit)
	}
}

func TestCheckIndex(t *testing.T) {
	x := newIndex(3, 20)
	m := &Manifest{}
	m.Describe(x, Ref{})
	if err := m.CheckIndex(x); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Manifest){
		"files":       func(m *Manifest) { m.Files++ },
		"chunks":      func(m *Manifest) { m.Chunks++ },
		"raw size":    func(m *Manifest) { m.RawSize-- },
		"stored size": func(m *Manifest) { m.StoredSize-- },
	} {
		other := *m
		change(&other)
		if err := other.CheckIndex(x); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want %v", name, err, ErrMalformed)
		}
	}
}

// TestWalkIndex sees what ReadIndex does, file by file.
func TestWalkIndex(t *testing.T) {
	x := newIndex(3, 20)
	object, rawSize, err := x.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var got Index
	walk := func(object []byte, rawSize int64, fn func(*File) error) error {
		return WalkIndex(bytes.NewReader(object), rawSize, fn)
	}
	if err := walk(object, rawSize, func(f *File) error { got.Files = append(got.Files, *f); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x, &got); diff != "" {
		t.Error(diff)
	}
	stop, seen := errors.New("enough"), 0
	if err := walk(object, rawSize, func(*File) error { seen++; return stop }); !errors.Is(err, stop) || seen != 1 {
		t.Errorf("%v after %d files", err, seen)
	}
	nothing := func(*File) error { return nil }
	for what, err := range map[string]error{
		"shorter": walk(object, rawSize+1, nothing), "longer": walk(object, rawSize-1, nothing), "cut": walk(object[:len(object)-9], rawSize, nothing),
	} {
		if err == nil {
			t.Errorf("%s than its manifest says, and read", what)
		}
	}
}

// What may not be written is not written.
func TestMarshalRefuses(t *testing.T) {
	if text, err := (&Head{Channel: "a", Sequence: 1}).Marshal(); err == nil || text != nil {
		t.Errorf("wrote a head without snapshots: %q", text)
	}
	if b, err := (&Manifest{}).Marshal(); err == nil || b != nil {
		t.Errorf("wrote an empty manifest: %q", b)
	}
	var lines bytes.Buffer
	x := &Index{Files: []File{{Path: "../a"}}}
	if err := x.WriteLines(&lines); !errors.Is(err, ErrPath) || lines.Len() > 0 {
		t.Errorf("wrote %q: %v", lines.Bytes(), err)
	}
	if _, _, err := x.Marshal(); !errors.Is(err, ErrPath) {
		t.Errorf("wrote an index that climbs: %v", err)
	}
}
