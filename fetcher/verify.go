package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest"
)

// VerifyOptions say which directory to compare with which snapshot.
type VerifyOptions struct {
	Repository *Repository
	Channel    string
	Version    string // empty means the newest
	Directory  string
	Check      func(context.Context, *manifest.Manifest) error // as that of Options
	Progress   func(checked, total int64)                      // bytes; called from several goroutines
}

// Report is what differs between a directory and a snapshot.
type Report struct {
	Manifest *manifest.Manifest
	Missing  []string // listed, not there
	Unlisted []string // there, not listed
	Wrong    []Wrong  // there with other content
}

// Wrong is a file whose content is not the snapshot's.
type Wrong struct {
	Path     string `json:"path"`
	Size     int64  `json:"size"`      // bytes that it has
	WantSize int64  `json:"want_size"` // bytes that it should have
	Chunks   []int  `json:"chunks"`    // those that differ, by number
}

// Same reports whether nothing differs.
func (r *Report) Same() bool { return len(r.Missing)+len(r.Unlisted)+len(r.Wrong) == 0 }

// Verify hashes every file of a directory and names what is not as in the
// snapshot. It only reads.
func Verify(ctx context.Context, opts VerifyOptions) (*Report, error) {
	m, err := opts.Repository.Manifest(ctx, opts.Channel, opts.Version)
	if err != nil {
		return nil, err
	}
	if opts.Check != nil {
		if err := opts.Check(ctx, m); err != nil {
			return nil, err
		}
	}
	x, _, err := opts.Repository.Index(ctx, m)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(opts.Directory)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	defer root.Close()
	v := verification{root: root, index: x, report: &Report{Manifest: m}}
	if opts.Progress != nil {
		v.progress = func(n int) { opts.Progress(v.checked.Add(int64(n)), m.RawSize) }
	} else {
		v.progress = func(int) {}
	}
	if err := v.run(ctx); err != nil {
		return nil, fmt.Errorf("verify %s: %w", opts.Directory, err)
	}
	return v.report, nil
}

type verification struct {
	root     *os.Root
	index    *manifest.Index
	checked  atomic.Int64
	progress func(n int)
	buffers  bufferPool

	mu     sync.Mutex
	report *Report
}

func (v *verification) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	wrong := make([]*Wrong, len(v.index.Files))
	for i := range v.index.Files {
		f := &v.index.Files[i]
		info, err := v.root.Lstat(f.Path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			v.report.Missing = append(v.report.Missing, f.Path)
			continue
		}
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		if !info.Mode().IsRegular() {
			wrong[i] = &Wrong{Path: f.Path, WantSize: f.Size}
			continue
		}
		if info.Size() != f.Size {
			wrong[i] = &Wrong{Path: f.Path, Size: info.Size(), WantSize: f.Size}
		}
		for at := 0; at < f.ChunkCount(); at += hashRun {
			group.Go(func() error {
				bad, err := v.chunks(ctx, f, at, min(at+hashRun, f.ChunkCount()))
				if len(bad) == 0 {
					return err
				}
				v.mu.Lock()
				defer v.mu.Unlock()
				if wrong[i] == nil {
					wrong[i] = &Wrong{Path: f.Path, Size: f.Size, WantSize: f.Size}
				}
				wrong[i].Chunks = append(wrong[i].Chunks, bad...)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, w := range wrong {
		if w != nil {
			slices.Sort(w.Chunks)
			v.report.Wrong = append(v.report.Wrong, *w)
		}
	}
	extra, err := extraPaths(v.root, v.index)
	slices.Sort(extra)
	v.report.Unlisted = extra
	return err
}

// chunks returns which of the chunks [from, to) differ.
func (v *verification) chunks(ctx context.Context, f *manifest.File, from, to int) (bad []int, err error) {
	in, err := v.root.Open(filepath.FromSlash(f.Path))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	none := func(int) bool { return false }
	err = hashChunks(ctx, in, f, from, to, &v.buffers, none, func(chunk int, _ []byte, right bool) error {
		if !right {
			bad = append(bad, chunk)
		}
		v.progress(f.ChunkLength(chunk))
		return nil
	})
	return bad, err
}
