package manifest

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// FrameDecoder decompresses frames. It is safe for concurrent use.
type FrameDecoder struct {
	zstd *zstd.Decoder
}

// NewFrameDecoder returns a decoder that never allocates more than a chunk.
func NewFrameDecoder() (*FrameDecoder, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(ChunkSize))
	if err != nil {
		return nil, fmt.Errorf("make a zstd decoder: %w", err)
	}
	return &FrameDecoder{zstd: dec}, nil
}

// decodeRoom is what a buffer should have beyond the chunk: the fast decoder
// writes a little past the end.
const decodeRoom = 64

// Decode returns the chunk of size bytes that frame holds, in buf if that has
// the room; a capacity of [ChunkSize] and 64 bytes is best. A frame of raw
// blocks is moved together in place and costs no copy: frame is overwritten,
// and the result may share its memory. The chunk is still to be checked
// against its digest.
func (d *FrameDecoder) Decode(frame, buf []byte, size int) ([]byte, error) {
	if size < 1 {
		return nil, fmt.Errorf("%w: chunk of %d bytes", ErrMalformed, size)
	}
	if size > ChunkSize || len(frame) > MaxFrameSize {
		return nil, fmt.Errorf("%w: frame of %d bytes for a chunk of %d", ErrLimit, len(frame), size)
	}
	blocks, err := frameBlocks(frame, size)
	if err != nil {
		return nil, err
	}
	raw, err := checkBlocks(blocks)
	if err != nil {
		return nil, err
	}
	var chunk []byte
	if raw {
		chunk = joinRawBlocks(blocks)
	} else {
		if cap(buf) < size {
			buf = make([]byte, 0, size+decodeRoom)
		}
		chunk, err = d.zstd.DecodeAll(frame, buf[:0])
	}
	switch {
	case tooMuch(err) || len(chunk) > size:
		return nil, fmt.Errorf("%w: frame holds more than its chunk's %d bytes", ErrLimit, size)
	case err != nil:
		return nil, fmt.Errorf("%w: frame: %w", ErrMalformed, err)
	case len(chunk) != size:
		return nil, fmt.Errorf("%w: frame holds %d bytes, its chunk has %d", ErrMalformed, len(chunk), size)
	}
	return chunk, nil
}

// tooMuch reports whether the decoder stopped because there was more than the
// header said; one block of more than all is beyond the window.
func tooMuch(err error) bool {
	return errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrFrameSizeExceeded) ||
		errors.Is(err, zstd.ErrWindowSizeExceeded)
}

// frameBlocks checks the header of a frame and returns what follows it. What
// the decoder would allow beyond the format's one form is refused here: other
// windows, dictionaries, checksums, skippable frames, unknown sizes.
func frameBlocks(frame []byte, size int) ([]byte, error) {
	if len(frame) < 5 || binary.LittleEndian.Uint32(frame) != frameMagic || frame[4]&0x3f != singleSegment {
		return nil, fmt.Errorf("%w: frame is not one zstd segment without checksum and dictionary", ErrMalformed)
	}
	n := 1 << (frame[4] >> 6) // bytes of the content size
	if len(frame) < 5+n {
		return nil, fmt.Errorf("%w: frame ends in its header", ErrMalformed)
	}
	var field [8]byte
	copy(field[:], frame[5:5+n])
	content := binary.LittleEndian.Uint64(field[:])
	if n == 2 {
		content += 256
	}
	switch {
	case content > uint64(size):
		return nil, fmt.Errorf("%w: frame holds %d bytes, its chunk has %d", ErrLimit, content, size)
	case content < uint64(size):
		return nil, fmt.Errorf("%w: frame holds %d bytes, its chunk has %d", ErrMalformed, content, size)
	}
	return frame[5+n:], nil
}

// nextBlock takes the first block off a frame.
func nextBlock(blocks []byte) (kind byte, last bool, content, rest []byte, err error) {
	if len(blocks) < blockHeader {
		return 0, false, nil, nil, fmt.Errorf("%w: frame ends before its last block", ErrMalformed)
	}
	n := int(blocks[0])>>3 | int(blocks[1])<<5 | int(blocks[2])<<13
	kind, last, blocks = blocks[0]>>1&3, blocks[0]&1 != 0, blocks[blockHeader:]
	if n > maxBlock || kind > blockCompressed {
		return 0, false, nil, nil, fmt.Errorf("%w: frame has a block of type %d with %d bytes", ErrMalformed, kind, n)
	}
	if kind == blockRLE {
		n = 1
	}
	if n > len(blocks) {
		return 0, false, nil, nil, fmt.Errorf("%w: frame ends in a block", ErrMalformed)
	}
	return kind, last, blocks[:n], blocks[n:], nil
}

// checkBlocks reports whether all blocks are raw. The last one must end where
// the frame does.
func checkBlocks(blocks []byte) (raw bool, err error) {
	raw = true
	for last := false; !last; {
		var kind byte
		if kind, last, _, blocks, err = nextBlock(blocks); err != nil {
			return false, err
		}
		raw = raw && kind == blockRaw
	}
	if len(blocks) > 0 {
		return false, fmt.Errorf("%w: %d bytes behind the frame", ErrMalformed, len(blocks))
	}
	return raw, nil
}

// joinRawBlocks moves the content of checked raw blocks together in place.
func joinRawBlocks(blocks []byte) []byte {
	joined := blocks[blockHeader:blockHeader]
	for len(blocks) > 0 {
		_, _, content, rest, _ := nextBlock(blocks)
		joined = append(joined, content...)
		blocks = rest
	}
	return joined
}
