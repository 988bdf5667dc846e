package manifest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"sync"
	"testing"

	"github.com/qsync/qsync/scripts/require"
)

func newDecoder(t testing.TB) *FrameDecoder {
	t.Helper()
	dec, err := NewFrameDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return dec
}

func newEncoder(t testing.TB, level int) *FrameEncoder {
	t.Helper()
	enc, err := NewFrameEncoder(level, 3)
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

// contents are the kinds of chunks that the encoder treats apart.
var contents = []struct {
	name string
	fill func(b []byte)
}{
	{"zero", func([]byte) {}},
	{"one byte over and over", func(b []byte) { fill(b, func(int) byte { return 'x' }) }},
	{"repeated but for the last byte", func(b []byte) { b[len(b)-1] = 1 }},
	{"text", func(b []byte) { fill(b, func(i int) byte { return "qsync test vector\n"[i%18] }) }},
	{"random", random},
	{"random behind text", func(b []byte) { random(b[len(b)/2:]) }},
	{"half the bits random", func(b []byte) { random(b); fill(b, func(i int) byte { return b[i] & 15 }) }},
}

func fill(b []byte, at func(i int) byte) {
	for i := range b {
		b[i] = at(i)
	}
}

func random(b []byte) {
	seed := [32]byte{byte(len(b)), byte(len(b) >> 8)}
	io.ReadFull(rand.NewChaCha8(seed), b)
}

// sizes lie around the borders of what zstd and the format treat apart.
var sizes = []int{
	1, 2, 3, 7, 8, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 65535, 65536, 65791, 65792,
	maxBlock - 1, maxBlock, maxBlock + 1, 2*maxBlock - 1, 2 * maxBlock, 2*maxBlock + 1,
	ChunkSize - maxBlock, ChunkSize - 1, ChunkSize,
}

func TestFrames(t *testing.T) {
	dec := newDecoder(t)
	for _, level := range []int{1, 3, 7} {
		enc := newEncoder(t, level)
		for _, content := range contents {
			for _, size := range sizes {
				if level != 3 && size > 2*maxBlock && size < ChunkSize {
					continue // the blocks behind the first are all alike
				}
				chunk := make([]byte, size)
				content.fill(chunk)
				frame := enc.Append([]byte("before"), chunk)
				if string(frame[:6]) != "before" {
					t.Fatal("what stood before the frame was overwritten")
				}
				frame = frame[6:]
				what := fmt.Sprintf("level %d, %s, %d bytes", level, content.name, size)
				if len(frame) > MaxFrameSize || len(frame) > size+frameHeader+maxBlocks*blockHeader {
					t.Errorf("%s: frame of %d bytes", what, len(frame))
				}
				for _, room := range []int{0, size, size + decodeRoom} {
					got, err := dec.Decode(bytes.Clone(frame), make([]byte, 0, room), size)
					if err != nil || !bytes.Equal(got, chunk) {
						t.Fatalf("%s: decoded with room for %d: %v", what, room, err)
					}
				}
				for _, wrong := range []int{size - 1, size + 1} {
					if _, err := dec.Decode(bytes.Clone(frame), nil, wrong); err == nil {
						t.Errorf("%s: decoded as %d bytes", what, wrong)
					}
				}
			}
		}
	}
}

func TestFramesThatDoNotShrinkAreRaw(t *testing.T) {
	enc := newEncoder(t, 3)
	chunk := make([]byte, ChunkSize)
	random(chunk)
	frame := enc.Append(nil, chunk)
	if len(frame) != MaxFrameSize {
		t.Errorf("a random chunk takes %d bytes, want %d", len(frame), MaxFrameSize)
	}
	got, err := newDecoder(t).Decode(frame, nil, len(chunk))
	if err != nil || &got[0] != &frame[frameHeader+blockHeader] {
		t.Errorf("a raw chunk was copied: %v", err)
	}
	if frame := enc.Append(nil, make([]byte, ChunkSize)); len(frame) > 64 {
		t.Errorf("a chunk of zeros takes %d bytes", len(frame))
	}
}

// The zeros of sparse files are one object for a whole channel only if all
// levels write them alike.
func TestZerosAreOneFrame(t *testing.T) {
	zeros := make([]byte, ChunkSize)
	if a, b := newEncoder(t, 1).Append(nil, zeros), newEncoder(t, 9).Append(nil, zeros); !bytes.Equal(a, b) {
		t.Error("levels 1 and 9 write zeros differently")
	}
}

func TestFrameCodersAreConcurrent(t *testing.T) {
	enc, dec := newEncoder(t, 3), newDecoder(t)
	var all sync.WaitGroup
	for worker := range 4 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			chunk := make([]byte, maxBlock+worker)
			for _, content := range contents {
				content.fill(chunk)
				got, err := dec.Decode(enc.Append(nil, chunk), nil, len(chunk))
				if err != nil || !bytes.Equal(got, chunk) {
					t.Errorf("worker %d: %s: %v", worker, content.name, err)
				}
			}
		})
	}
	all.Wait()
}

// `zstd -d` of a file's segments in order is the file.
func TestZstdReadsSegments(t *testing.T) {
	zstd := require.Tool(t, "zstd")
	enc := newEncoder(t, 3)
	var file, segments []byte
	for _, content := range contents {
		for _, size := range []int{ChunkSize, maxBlock + 1, 1} {
			chunk := make([]byte, size)
			content.fill(chunk)
			file, segments = append(file, chunk...), enc.Append(segments, chunk)
		}
	}
	cmd := exec.Command(zstd, "-d", "-c")
	cmd.Stdin = bytes.NewReader(segments)
	got, err := cmd.Output()
	if err != nil || !bytes.Equal(got, file) {
		t.Errorf("zstd -d gives %d bytes, want %d: %v", len(got), len(file), err)
	}
}

func BenchmarkFrames(b *testing.B) {
	dec := newDecoder(b)
	for _, content := range contents {
		chunk := make([]byte, ChunkSize)
		content.fill(chunk)
		for _, level := range []int{1, 3, 7} {
			enc := newEncoder(b, level)
			b.Run(fmt.Sprintf("encode/%s/level=%d", content.name, level), func(b *testing.B) {
				b.SetBytes(ChunkSize)
				var frame []byte
				for b.Loop() {
					frame = enc.Append(frame[:0], chunk)
				}
				b.ReportMetric(float64(len(frame))/ChunkSize, "stored/raw")
			})
		}
		b.Run("decode/"+content.name, func(b *testing.B) {
			b.SetBytes(ChunkSize)
			frame := newEncoder(b, 3).Append(nil, chunk)
			scratch, buf := bytes.Clone(frame), make([]byte, 0, ChunkSize+decodeRoom)
			for b.Loop() {
				copy(scratch, frame) // Decode overwrites it
				if _, err := dec.Decode(scratch, buf, ChunkSize); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestSegmentEncoder: behind a chunk that is not worth it some are stored without a
// look, and a chunk that is worth it lets all that follow be looked at again.
func TestSegmentEncoder(t *testing.T) {
	noise, text := make([]byte, ChunkSize), bytes.Repeat([]byte("all work and no play "), ChunkSize/21+1)[:ChunkSize]
	random(noise)
	enc, dec := newEncoder(t, 3), newDecoder(t)
	for _, c := range []struct{ chunks, stored string }{ // n is noise, t text; # is stored, . compressed
		{"nnnnnnnn", "########"},
		{"tttt", "...."},
		{"ntttt", "####."},
		{"ntttntttt", "########."},
		{"tntttt", ".####."},
		{"ntttttntt", "####..###"},
		{"tt0tnt", "....##"}, // zeros count as worth it
	} {
		segment := enc.Segment()
		var got []byte
		for _, kind := range c.chunks {
			chunk := map[rune][]byte{'n': noise, 't': text, '0': make([]byte, ChunkSize)}[kind]
			frame := segment.Append([]byte("before"), chunk)[6:]
			if len(frame) > len(chunk) {
				got = append(got, '#')
			} else {
				got = append(got, '.')
			}
			if back, err := dec.Decode(frame, nil, len(chunk)); err != nil || !bytes.Equal(back, chunk) {
				t.Fatalf("%s: %d bytes, %v", c.chunks, len(back), err)
			}
		}
		if string(got) != c.stored {
			t.Errorf("%s: %s, want %s", c.chunks, got, c.stored)
		}
	}
}
