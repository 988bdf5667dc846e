package dir

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/internal/durable"
)

// Files is a [Target] that holds versions as directories.
type Files struct{ *Target }

var (
	_ publish.Files     = Files{}
	_ publish.Leftovers = Files{}
)

// NewFiles returns the target of files in base, which is created if need be.
func NewFiles(base string) (Files, error) {
	t, err := New(base)
	return Files{t}, err
}

// Copy implements [publish.Files]. It links: nobody writes to an object once it
// is there.
func (f Files) Copy(ctx context.Context, key, from string) error {
	path, err := f.path(key)
	if err != nil {
		return err
	}
	source, err := f.path(from)
	if err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), durable.MkdirAll(filepath.Dir(path))); err != nil {
		return err
	}
	link := filepath.Join(f.tmp, "link-"+rand.Text())
	if err := os.Link(source, link); err != nil {
		return notFound(err)
	}
	err = os.Rename(link, path)
	// Where both are the same file already, nothing was renamed.
	if removeErr := os.Remove(link); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return errors.Join(err, durable.SyncDir(filepath.Dir(path)))
}

// Assemble implements [publish.Files]. On filesystems that can, what comes from
// another object shares its blocks.
func (f Files) Assemble(ctx context.Context, key string, pieces []publish.Piece, content io.ReaderAt) error {
	path, err := f.path(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var buffer []byte
	return durable.Write(f.tmp, path, func(out *os.File) error {
		var size int64
		for _, p := range pieces {
			size += p.Length
			err := ctx.Err()
			switch {
			case err != nil:
			case p.From == "":
				n := int(min(p.Length, readAtOnce))
				buffer = slices.Grow(buffer[:0], n)[:n]
				err = writeContent(out, p, content, buffer)
			default:
				err = f.copyPiece(out, p)
			}
			if err != nil {
				return err
			}
		}
		return out.Truncate(size) // it may end in a hole
	})
}

// readAtOnce is how much content of a file is in memory: many files are written at a
// time. It is a number of whole chunks.
const readAtOnce = 2 * manifest.ChunkSize

// writeContent leaves holes where there are chunks of zeros.
func writeContent(out *os.File, p publish.Piece, content io.ReaderAt, buffer []byte) error {
	for at, end := p.Offset, p.Offset+p.Length; at < end; at += int64(len(buffer)) {
		buffer = buffer[:min(int64(len(buffer)), end-at)]
		if _, err := content.ReadAt(buffer, at); err != nil {
			return err
		}
		chunkAt := at
		for chunk := range slices.Chunk(buffer, manifest.ChunkSize) {
			if !bytes.Equal(chunk, zeros[:len(chunk)]) {
				if _, err := out.WriteAt(chunk, chunkAt); err != nil {
					return err
				}
			}
			chunkAt += int64(len(chunk))
		}
	}
	return nil
}

var zeros = make([]byte, manifest.ChunkSize)

func (f Files) copyPiece(out *os.File, p publish.Piece) error {
	path, err := f.path(p.From)
	if err != nil {
		return err
	}
	in, err := os.Open(path)
	if err != nil {
		return notFound(err)
	}
	defer in.Close()
	for _, file := range []*os.File{in, out} {
		if _, err := file.Seek(p.Offset, io.SeekStart); err != nil {
			return err
		}
	}
	n, err := io.CopyN(out, in, p.Length) // by copy_file_range
	if err != nil {
		return fmt.Errorf("copy from %s at %d: %w", path, p.Offset+n, err)
	}
	return nil
}
