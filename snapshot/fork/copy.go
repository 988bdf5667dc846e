package fork

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
)

var byCopy = &clone{name: "copy", fill: copySparse, try: tryCopy}

func tryCopy(f *cloneFork, db *snapshot.Tree) error {
	return f.dir.room(db)
}

// room reports whether the files can be copied into the directory.
func (d *directory) room(db *snapshot.Tree) error {
	var need uint64
	for _, e := range db.Files {
		need += uint64(min(e.Allocated, e.Stamp.Size))
	}
	var st unix.Statfs_t
	if err := unix.Statfs(d.join("."), &st); err != nil {
		return fmt.Errorf("look for room in %s: %w", d.path, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return fmt.Errorf("a copy of the database needs %s beside it, there are %s", humanize.IBytes(need), humanize.IBytes(free))
	}
	return nil
}

// copySparse copies the first size bytes of src where it has data, and leaves
// holes where it has none.
func copySparse(ctx context.Context, dst, src *os.File, size int64) error {
	if err := dst.Truncate(size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		start, err := src.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		} else if err != nil {
			return err
		}
		end, err := src.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if at, err = copyRange(ctx, dst, src, start, min(end, size)); err != nil {
			return err
		}
	}
	// Data that was cut off meanwhile would have looked like a hole.
	if st, err := src.Stat(); err != nil {
		return err
	} else if st.Size() < size {
		return fmt.Errorf("it had %d bytes and has %d now", size, st.Size())
	}
	return nil
}

// piece is how much is copied between two looks at the context.
const piece = 64 << 20

func copyRange(ctx context.Context, dst, src *os.File, at, end int64) (int64, error) {
	if _, err := src.Seek(at, io.SeekStart); err != nil {
		return at, err
	}
	if _, err := dst.Seek(at, io.SeekStart); err != nil {
		return at, err
	}
	for at < end {
		if err := context.Cause(ctx); err != nil {
			return at, err
		}
		n, err := io.CopyN(dst, src, min(piece, end-at)) // copy_file_range where the kernel can
		at += n
		if err != nil {
			return at, fmt.Errorf("at %d: %w", at, err)
		}
	}
	return at, nil
}
