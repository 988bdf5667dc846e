package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// A frame is one chunk as a complete zstd frame. Three kinds are written: RLE
// blocks for a chunk of one repeated byte (the zeros of a sparse file), raw
// blocks for a chunk that does not shrink, and klauspost's for the rest.
const (
	frameMagic   = 0xFD2FB528
	maxBlock     = 128 << 10
	blockRaw     = 0
	blockRLE     = 1
	frameHeader  = 4 + 1 + 4 // magic, descriptor, content size
	blockHeader  = 3
	maxBlocks    = ChunkSize / maxBlock
	descriptor4B = 1<<7 | 1<<5 // four bytes of content size, single segment: no window, no checksum, no dictionary

	// MaxFrameSize is the most bytes a frame can have: a raw chunk and its headers.
	MaxFrameSize = ChunkSize + frameHeader + maxBlocks*blockHeader
)

// FrameEncoder compresses chunks. It is safe for concurrent use.
type FrameEncoder struct {
	zstd *zstd.Encoder
}

// NewFrameEncoder returns an encoder for a zstd level, 1 (fast) to 19.
func NewFrameEncoder(level int) (*FrameEncoder, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(ChunkSize),
		zstd.WithSingleSegment(true),
		zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make a zstd encoder of level %d: %w", level, err)
	}
	return &FrameEncoder{zstd: enc}, nil
}

// minSaving is the part of a chunk that compression must save to be worth the
// reader's time: one 32nd.
const minSaving = 32

// Append appends the frame of chunk, which has 1 to [ChunkSize] bytes, to dst.
func (e *FrameEncoder) Append(dst, chunk []byte) []byte {
	if isRepeated(chunk) {
		return appendBlocks(dst, chunk, blockRLE)
	}
	start := len(dst)
	dst = e.zstd.EncodeAll(chunk, dst)
	if len(dst)-start <= len(chunk)-len(chunk)/minSaving {
		return dst
	}
	return appendBlocks(dst[:start], chunk, blockRaw)
}

func isRepeated(b []byte) bool {
	return len(b) > 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

func appendBlocks(dst, chunk []byte, kind uint32) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, frameMagic)
	dst = append(dst, descriptor4B)
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

// FrameDecoder decompresses frames. It is safe for concurrent use.
type FrameDecoder struct {
	zstd *zstd.Decoder
}

// NewFrameDecoder returns a decoder that never allocates more than a chunk.
func NewFrameDecoder() (*FrameDecoder, error) {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderMaxMemory(ChunkSize),
		zstd.WithDecodeAllCapLimit(true),
		zstd.IgnoreChecksum(true)) // chunks are checked by SHA-256
	if err != nil {
		return nil, fmt.Errorf("make a zstd decoder: %w", err)
	}
	return &FrameDecoder{zstd: dec}, nil
}

// Decode returns the chunk of size bytes that frame holds, in buf if that has
// the room. A frame of raw blocks is moved together in place and costs no
// copy: frame is overwritten, and the result may share its memory. The chunk
// is still to be checked against its digest.
func (d *FrameDecoder) Decode(frame, buf []byte, size int) ([]byte, error) {
	if size < 1 || size > ChunkSize || len(frame) > MaxFrameSize {
		return nil, fmt.Errorf("%w: frame of %d bytes for a chunk of %d", ErrLimit, len(frame), size)
	}
	if chunk, ok := joinRawBlocks(frame, size); ok {
		return chunk, nil
	}
	if cap(buf) < size {
		buf = make([]byte, 0, size)
	}
	chunk, err := d.zstd.DecodeAll(frame, buf[:0:size])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, fmt.Errorf("%w: frame holds more than its chunk's %d bytes", ErrLimit, size)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: frame: %w", ErrMalformed, err)
	}
	if len(chunk) != size {
		return nil, fmt.Errorf("%w: frame holds %d bytes, its chunk has %d", ErrMalformed, len(chunk), size)
	}
	return chunk, nil
}

// joinRawBlocks takes apart the frame that [appendBlocks] writes for
// incompressible data, moving the blocks together. It leaves any other frame
// as it is and reports false.
func joinRawBlocks(frame []byte, size int) ([]byte, bool) {
	blocks := (size + maxBlock - 1) / maxBlock
	if len(frame) != frameHeader+blocks*blockHeader+size ||
		binary.LittleEndian.Uint32(frame) != frameMagic ||
		frame[4] != descriptor4B ||
		binary.LittleEndian.Uint32(frame[5:]) != uint32(size) {
		return nil, false
	}
	for i, at := 0, frameHeader; i < blocks; i++ {
		n := min(maxBlock, size-i*maxBlock)
		want := uint32(n)<<3 | blockRaw<<1
		if i == blocks-1 {
			want |= 1
		}
		if h := frame[at : at+blockHeader]; uint32(h[0])|uint32(h[1])<<8|uint32(h[2])<<16 != want {
			return nil, false
		}
		at += blockHeader + n
	}
	joined := frame[frameHeader+blockHeader:][:min(maxBlock, size)]
	for i, at := 1, frameHeader+blockHeader+maxBlock; i < blocks; i++ {
		at += blockHeader
		n := min(maxBlock, size-i*maxBlock)
		joined = append(joined, frame[at:at+n]...)
		at += n
	}
	return joined, true
}
