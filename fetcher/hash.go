package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/qsync/qsync/manifest"
)

// readChunk is a chunk that was read from a disk.
type readChunk struct {
	number int
	data   []byte
}

// hashChunks reads the chunks [from, to) of a file, but for those to skip, and
// tells of each in turn whether it is the snapshot's. A chunk that in is too short
// for has no data. data is valid during the call only.
func hashChunks(ctx context.Context, in io.ReaderAt, f *manifest.File, from, to int, buffers *bufferPool,
	skip func(chunk int) bool, tell func(chunk int, data []byte, right bool) error,
) error {
	var bufs [atOnce][]byte
	for i := range bufs {
		bufs[i] = buffers.get()
		defer buffers.put(bufs[i])
	}
	pair := make([]readChunk, 0, atOnce)
	hash := func() error {
		var sums [atOnce]manifest.Digest
		if len(pair) == atOnce {
			sums[0], sums[1] = manifest.SumPair(pair[0].data, pair[1].data)
		} else if len(pair) > 0 {
			sums[0] = manifest.Sum(pair[0].data)
		}
		for i, c := range pair {
			if err := tell(c.number, c.data, sums[i] == f.Chunk(c.number)); err != nil {
				return err
			}
		}
		pair = pair[:0]
		return nil
	}
	for i := from; i < to; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if skip(i) {
			continue
		}
		data := bufs[len(pair)][:f.ChunkLength(i)]
		_, err := in.ReadAt(data, int64(i)*manifest.ChunkSize)
		switch {
		case err == nil:
			pair = append(pair, readChunk{i, data})
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("read %s at %d: %w", f.Path, int64(i)*manifest.ChunkSize, err)
		default: // this one and those after it
			if err := hash(); err != nil {
				return err
			}
			if err := tell(i, nil, false); err != nil {
				return err
			}
		}
		if len(pair) == atOnce {
			if err := hash(); err != nil {
				return err
			}
		}
	}
	return hash()
}
