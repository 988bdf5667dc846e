package manifest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// A frame is one chunk as one zstd frame (RFC 8878) in the strictest of its
// forms: a single segment, whose content size is the chunk's, without checksum
// and dictionary. Three kinds are written: RLE blocks for a chunk of one
// repeated byte (the zeros of a sparse file), raw blocks for a chunk that does
// not shrink enough, and klauspost's for the rest.
const (
	frameMagic  = 0xFD2FB528
	frameHeader = 4 + 1 + 4 // magic, descriptor, four bytes of content size
	blockHeader = 3
	maxBlock    = 128 << 10
	maxBlocks   = ChunkSize / maxBlock

	singleSegment = 1 << 5 // descriptor bit: there is no window descriptor
	contentSize4  = 2 << 6 // descriptor bits: the content size has four bytes

	// MaxFrameSize is the most bytes a frame can have: a raw chunk and its headers.
	MaxFrameSize = ChunkSize + frameHeader + maxBlocks*blockHeader
)

// The types of blocks.
const (
	blockRaw = iota
	blockRLE
	blockCompressed
)

// FrameEncoder compresses chunks. It is safe for concurrent use.
type FrameEncoder struct {
	zstd      *zstd.Encoder
	minSaving int
}

// maxEncoders bounds the memory of a [FrameEncoder]: the tables of one
// compressor are 3 MiB at level 1, 4 at 3, 7 at 7 and 37 from level 10 on.
const maxEncoders = 16

// DefaultMinSaving is the least percentage of a chunk that compression must save
// for it to be compressed.
const DefaultMinSaving = 10

// NewFrameEncoder returns an encoder for a zstd level, 1 (fast) to 19, which
// compresses as many chunks at once as there are processors, at most 16. A chunk
// that does not shrink by minSaving percent is stored.
func NewFrameEncoder(level, minSaving int) (*FrameEncoder, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithEncoderConcurrency(min(runtime.GOMAXPROCS(0), maxEncoders)),
		zstd.WithWindowSize(ChunkSize),
		zstd.WithSingleSegment(true),
		zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make a zstd encoder of level %d: %w", level, err)
	}
	return &FrameEncoder{zstd: enc, minSaving: minSaving}, nil
}

// probeSize is how much of a chunk is compressed first, to see whether the rest
// is worth it. What engines have compressed already takes seven milliseconds a
// chunk at level 3 to save 7 %: the probe takes half a millisecond to tell.
const probeSize = 64 << 10

// probeEvery is how many chunks of a segment stand for each other: behind one that
// is not worth it, so many less one are stored without a look.
const probeEvery = 4

// SegmentEncoder compresses the chunks of one segment in their order. Equal segments
// become equal bytes.
type SegmentEncoder struct {
	*FrameEncoder
	barren int // chunks in a row that were not worth it
}

// Segment begins a segment.
func (e *FrameEncoder) Segment() SegmentEncoder { return SegmentEncoder{FrameEncoder: e} }

// Append appends the frame of chunk, which has 1 to [ChunkSize] bytes, to dst.
func (s *SegmentEncoder) Append(dst, chunk []byte) []byte {
	if s.barren%probeEvery != 0 && len(chunk) == ChunkSize && !isRepeated(chunk) {
		s.barren++
		return appendBlocks(dst, chunk, blockRaw)
	}
	before := len(dst)
	dst = s.FrameEncoder.Append(dst, chunk)
	if len(dst)-before > len(chunk) {
		s.barren++
	} else {
		s.barren = 0
	}
	return dst
}

// Append appends the frame of chunk, which has 1 to [ChunkSize] bytes, to dst.
func (e *FrameEncoder) Append(dst, chunk []byte) []byte {
	if isRepeated(chunk) {
		return appendBlocks(dst, chunk, blockRLE)
	}
	start := len(dst)
	if len(chunk) == ChunkSize {
		middle := chunk[(ChunkSize-probeSize)/2:][:probeSize]
		dst = e.zstd.EncodeAll(middle, dst)
		// A short piece finds fewer repetitions than the whole will: half the
		// saving is promise enough.
		if promising := saves(len(dst)-start, len(middle), e.minSaving/2); !promising {
			return appendBlocks(dst[:start], chunk, blockRaw)
		}
	}
	dst = e.zstd.EncodeAll(chunk, dst[:start])
	if saves(len(dst)-start, len(chunk), e.minSaving) {
		return dst
	}
	return appendBlocks(dst[:start], chunk, blockRaw)
}

// saves reports whether size is smaller than raw by so many percent at least.
func saves(size, raw, percent int) bool { return size < raw && size <= raw-raw*percent/100 }

// isRepeated stops at the first byte that differs from the one before it.
func isRepeated(b []byte) bool {
	return len(b) > 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

// appendBlocks appends a frame of raw or RLE blocks.
func appendBlocks(dst, chunk []byte, kind uint32) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, frameMagic)
	dst = append(dst, contentSize4|singleSegment)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(chunk)))
	for len(chunk) > 0 {
		n := min(len(chunk), maxBlock)
		h := uint32(n)<<3 | kind<<1
		if n == len(chunk) {
			h |= 1 // the last block
		}
		dst = append(dst, byte(h), byte(h>>8), byte(h>>16))
		if kind == blockRLE {
			dst = append(dst, chunk[0])
		} else {
			dst = append(dst, chunk[:n]...)
		}
		chunk = chunk[n:]
	}
	return dst
}
