package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/ipfs"
	"github.com/qsync/qsync/publish/ipfs/mirror"
)

// Export writes a version to a CAR.
type Export struct {
	Config  *config.Agent
	Channel string
	Version string        // empty is the newest
	Trees   []mirror.Tree // at least one
	File    string        // replaced if it exists

	Progress func(done, total int64) // bytes of blocks; nil is nobody
}

// Exported is what has been written.
type Exported struct {
	Version string
	Roots   map[mirror.Tree]unixfs.CID
	Bytes   int64 // of the file
}

// Run writes the file. It is there whole or not at all.
func (e *Export) Run(ctx context.Context) (done *Exported, err error) {
	publisher, err := NewPublisher(e.Config, nil)
	if err != nil {
		return nil, err
	}
	v, err := e.find(ctx, publisher)
	if err != nil {
		return nil, err
	}
	view, closeView, err := e.open(publisher)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeView()) }()
	roots, err := e.roots(ctx, view, v)
	if err != nil {
		return nil, err
	}
	done = &Exported{Version: v.Manifest.Version, Roots: map[mirror.Tree]unixfs.CID{}}
	var wanted []unixfs.CID
	var total, written int64
	for _, tree := range e.Trees {
		text, size := roots.Raw, v.Manifest.RawSize
		if tree == mirror.Zstd {
			text, size = roots.Zstd, v.Manifest.StoredSize
		}
		root, err := unixfs.ParseCID(text)
		if err != nil {
			return nil, err
		}
		done.Roots[tree], wanted, total = root, append(wanted, root), total+size
	}
	done.Bytes, err = e.write(ctx, view, wanted, func(n int) {
		if e.Progress != nil {
			written += int64(n)
			e.Progress(min(written, total), total)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("export %s %s: %w", e.Channel, done.Version, err)
	}
	return done, nil
}

func (e *Export) find(ctx context.Context, p *publish.Publisher) (*publish.Live, error) {
	live, err := p.Live(ctx, e.Channel)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, v := range live {
		if e.Version == "" || e.Version == v.Manifest.Version {
			return v, nil
		}
		names = append(names, v.Manifest.Version)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("channel %s: nothing is published: %w", e.Channel, publish.ErrNotFound)
	}
	return nil, term.WithHint(fmt.Errorf("version %s of %s: %w", e.Version, e.Channel, publish.ErrNotFound), "published: %s", strings.Join(names, " "))
}

// open opens the agent's view, or one of this export alone where there is no node that
// would keep its tables.
func (e *Export) open(p *publish.Publisher) (*ipfs.View, func() error, error) {
	if e.Config.IPFS != nil {
		view, err := OpenView(e.Config, p)
		if err != nil {
			return nil, nil, err
		}
		return view, view.Close, nil
	}
	dir, err := os.MkdirTemp(filepath.Dir(e.File), ".qsyncd-export-")
	if err != nil {
		return nil, nil, err
	}
	view, err := ipfs.OpenView(dir, p.Targets[0])
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return view, func() error { return errors.Join(view.Close(), os.RemoveAll(dir)) }, nil
}

// roots adds the version to the view, and returns its roots.
func (e *Export) roots(ctx context.Context, view *ipfs.View, v *publish.Live) (*manifest.IPFS, error) {
	x, object, err := v.Index(ctx)
	if err != nil {
		return nil, err
	}
	if err := view.Add(ctx, x, v.Manifest.Index.Digest, object); err != nil {
		return nil, err
	}
	if v.Manifest.IPFS != nil {
		return v.Manifest.IPFS, nil
	}
	return view.Version(ctx, x, v.Manifest.Index.Digest, object)
}

func (e *Export) write(ctx context.Context, view *ipfs.View, roots []unixfs.CID, written func(n int)) (size int64, err error) {
	file, err := renameio.NewPendingFile(e.File, renameio.WithStaticPermissions(0o644))
	if err != nil {
		return 0, err
	}
	defer file.Cleanup()
	if err := ipfs.WriteCAR(ctx, file, slices.Clip(roots), view, ipfs.CAROptions{Written: written}); err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return 0, err
	}
	return info.Size(), syncDir(filepath.Dir(e.File))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
