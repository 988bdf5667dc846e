package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest"
)

// seed is a directory whose chunks may be of use. It is only read from.
type seed struct {
	name string
	root *os.Root
	// noReflink is set when the filesystem refuses to share blocks with the tree.
	noReflink bool
}

func openSeeds(paths []string) ([]*seed, error) {
	var seeds []*seed
	for _, p := range paths {
		root, err := os.OpenRoot(p)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open seed: %w", err), closeSeeds(seeds))
		}
		seeds = append(seeds, &seed{name: p, root: root})
	}
	return seeds, nil
}

func closeSeeds(seeds []*seed) error {
	var errs []error
	for _, s := range seeds {
		errs = append(errs, s.root.Close())
	}
	return errors.Join(errs...)
}

// open opens a regular file of the seed.
func (s *seed) open(path string) (*os.File, int64, error) {
	info, err := s.root.Lstat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fs.ErrNotExist
	}
	f, err := s.root.Open(path)
	return f, info.Size(), err
}

// hashRun is the most chunks that are hashed as one piece of work, so that one
// big file keeps all cores busy.
const hashRun = 64

// reuse finds by hash what the disk already holds: chunks that the journal
// doubts, and chunks of seeds. With no tree (a dry run) it only finds out.
func (r *restore) reuse(ctx context.Context, doubtful *chunkSet, seeds []*seed) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for file := range r.table.index.Files {
		if err := r.reuseFile(ctx, group, file, doubtful, seeds); err != nil {
			return errors.Join(err, group.Wait())
		}
	}
	return group.Wait()
}

func (r *restore) reuseFile(ctx context.Context, group *errgroup.Group, file int, doubtful *chunkSet, seeds []*seed) error {
	f := &r.table.index.Files[file]
	split := func(from, to int, check func(from, to int) error) {
		for at := from; at < to; at += hashRun {
			group.Go(func() error { return check(at, min(at+hashRun, to)) })
		}
	}
	if doubtful != nil {
		first := r.table.first[file]
		for i := 0; i < f.ChunkCount(); i++ {
			n := i
			for n < f.ChunkCount() && doubtful.has(first+int64(n)) {
				n++
			}
			if n > i {
				split(i, n, func(from, to int) error { return r.checkTree(ctx, file, from, to) })
				i = n
			}
		}
	}
	copying := false
	for _, s := range seeds {
		in, size, err := s.open(f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open seed %s: %w", s.name, err)
		}
		cloned := false
		if r.tree != nil && r.tree.fresh[file] && !s.noReflink && !copying {
			cloned, err = r.clone(file, in, s)
		}
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
		chunks := min(f.ChunkCount(), int((size+manifest.ChunkSize-1)/manifest.ChunkSize))
		if cloned {
			split(0, chunks, func(from, to int) error { return r.checkTree(ctx, file, from, to) })
			return nil // the file is the seed's now; what is wrong in it gets fetched
		}
		split(0, chunks, func(from, to int) error { return r.copyFrom(ctx, s, file, from, to) })
		copying = true // a clone would undo it
	}
	return nil
}

// clone makes a file of the tree share all blocks with the seed's. Its chunks
// are checked afterwards, in the tree, where nobody else writes.
func (r *restore) clone(file int, in *os.File, s *seed) (bool, error) {
	out, err := r.tree.open(file)
	if err != nil {
		return false, err
	}
	defer out.Close()
	if err := unix.IoctlFileClone(int(out.Fd()), int(in.Fd())); err != nil {
		s.noReflink = true
		return false, nil
	}
	r.tree.fresh[file] = false
	size := r.table.index.Files[file].Size
	if err := out.Truncate(size); err != nil {
		return false, fmt.Errorf("size %s: %w", r.tree.name(file), noSpace(err))
	}
	return true, nil
}

// checkTree hashes chunks that lie in the tree already and takes the right ones.
func (r *restore) checkTree(ctx context.Context, file, from, to int) error {
	in, err := r.tree.open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("re-hash: %w", err)
	}
	defer in.Close()
	return r.eachChunk(ctx, in, file, from, to, func(chunk int, _ []byte) error {
		return r.have(file, chunk)
	})
}

// copyFrom copies the right chunks of a seed's file.
func (r *restore) copyFrom(ctx context.Context, s *seed, file, from, to int) error {
	in, _, err := s.open(r.table.index.Files[file].Path)
	if err != nil {
		return fmt.Errorf("open seed %s: %w", s.name, err)
	}
	defer in.Close()
	if r.tree == nil {
		return r.eachChunk(ctx, in, file, from, to, func(chunk int, _ []byte) error {
			r.held.add(r.table.first[file] + int64(chunk))
			return nil
		})
	}
	out, err := r.tree.open(file)
	if err != nil {
		return err
	}
	defer out.Close()
	return r.eachChunk(ctx, in, file, from, to, func(chunk int, data []byte) error {
		if err := r.tree.writeChunk(out, file, chunk, data); err != nil {
			return err
		}
		return r.have(file, chunk)
	})
}

// eachChunk reads chunks [from, to) of a file that are not held yet and gives
// those whose hash is right.
func (r *restore) eachChunk(ctx context.Context, in io.ReaderAt, file, from, to int, right func(chunk int, data []byte) error) error {
	f := &r.table.index.Files[file]
	skip := func(chunk int) bool {
		held := r.held.has(r.table.first[file] + int64(chunk))
		if held {
			r.progress.checked.Add(int64(f.ChunkLength(chunk)))
		}
		return held
	}
	return hashChunks(ctx, in, f, from, to, &r.buffers, skip, func(chunk int, data []byte, isRight bool) error {
		r.progress.checked.Add(int64(f.ChunkLength(chunk)))
		if !isRight {
			return nil
		}
		r.progress.reused.Add(int64(len(data)))
		return right(chunk, data)
	})
}
