package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
)

// Options say what to restore, and where to.
type Options struct {
	// Repository is the publisher's.
	Repository *Repository
	// Sources are where the chunks come from; nil means where the repository is
	// read from.
	Sources []Source
	// Places, in their place, says where they come from once it is known what is to be
	// restored; nil means the Sources.
	Places func(context.Context, *manifest.Manifest) (*Places, error)
	// Unsigned, in its place, is where a snapshot comes from that nobody has signed.
	// Nothing can then be recognised on a disk: there are no Seeds and no InPlace.
	Unsigned UnsignedTree

	Channel string
	Version string // empty means the newest
	Chain   string // the manifest must be of this chain; empty means any
	Genesis string // the manifest must have this genesis; empty means any

	Target  string   // the directory that the snapshot becomes
	Seeds   []string // directories whose chunks may be reused; the target itself always is
	InPlace bool     // repair the target's own files: no second copy, no way back
	KeepOld bool     // keep the directory that was replaced
	Replace bool     // also replace a directory that does not look like a database
	DryRun  bool     // stop once the plan is made; writes nothing

	Jobs      int   // most connections over all sources; 0 means DefaultJobs
	RateLimit int64 // bytes a second; 0 means none
	// Patience is how long a source may do nothing but fail before it is given
	// up; 0 means DefaultPatience.
	Patience time.Duration

	// Check is asked about the manifest, which is trusted, before anything below
	// it is fetched; nil means yes.
	Check         func(context.Context, *manifest.Manifest) error
	CheckUnsigned func(context.Context, *UnsignedSnapshot) error // the same in the place of a manifest
	Confirm       func(*Plan) error                              // asked before any data is fetched; nil means yes
	Progress      func(Progress)                                 // called a few times a second
	Log           *slog.Logger
}

func (o *Options) patience() time.Duration {
	if o.Patience > 0 {
		return o.Patience
	}
	return DefaultPatience
}

func (o *Options) log() *slog.Logger {
	if o.Log != nil {
		return o.Log
	}
	return slog.New(slog.DiscardHandler)
}

// check refuses what does not go together.
func (o *Options) check() error {
	if o.Unsigned != nil {
		if o.InPlace || len(o.Seeds) > 0 {
			return errors.New("an unsigned snapshot: nothing can be recognised on a disk, so neither seeds nor a restore in place help")
		}
		return nil
	}
	if n := len(o.sources()); n < 1 && o.Places == nil || n > maxSources {
		return fmt.Errorf("%w: there are %d sources, want 1 to %d", ErrNoSource, n, maxSources)
	}
	return nil
}

func (o *Options) sources() []Source {
	if o.Sources != nil {
		return o.Sources
	}
	return o.Repository.Sources
}

// Places are where the chunks of a snapshot come from.
type Places struct {
	Sources []Source
	Last    []Source // are asked only for what none of the Sources has
	LeftOut []string // are not asked, as the publisher wants it: by name
}

// Result is what a restore did.
type Result struct {
	Manifest     *manifest.Manifest // nil if nobody has signed it
	Unsigned     *UnsignedSnapshot  // nil if somebody has
	Plan         *Plan
	FetchedBytes int64 // bytes received
	ReusedBytes  int64 // raw bytes found on disk
	OldDirectory string
	Duration     time.Duration
}

// restore is one restore under way.
type restore struct {
	opts Options
	log  *slog.Logger
	*snapshot
	rawSize int64 // bytes of the snapshot

	target string
	work   *workDir // nil in a dry run
	tree   *tree    // nil in a dry run
	ledger *ledger  // nil in a dry run
	held   *chunkSet

	buffers  bufferPool
	progress meter
}

// maxChanges is how often files may change at their source while they are fetched.
const maxChanges = 5

// Run restores a snapshot into opts.Target, or goes on with a restore that was
// interrupted. With [Options.DryRun] it only makes the plan.
func Run(ctx context.Context, opts Options) (*Result, error) {
	start := time.Now()
	if err := opts.check(); err != nil {
		return nil, err
	}
	target, err := locateTarget(opts.Target)
	if err != nil {
		return nil, err
	}
	var work *workDir
	if !opts.DryRun {
		if work, err = openWorkDir(target); err != nil {
			return nil, err
		}
		defer work.close()
	}
	var skip manifest.Digest
	for changes := 0; ; {
		r, err := begin(ctx, opts, target, work)
		if err != nil {
			return nil, err
		}
		if r.digest == skip {
			return nil, fmt.Errorf("version %s of %s: %w: its objects are gone, and no newer version is published",
				r.version, r.channel, ErrNoSource)
		}
		result, err := r.run(ctx)
		if errors.Is(err, errMissing) && opts.Version == "" {
			// The version was pruned while it was fetched. What has arrived
			// is of use to the next one.
			r.log.Warn("version is gone from all sources, going on with the next", "version", r.version, "err", err)
			skip = r.digest
			continue
		}
		if errors.Is(err, ErrChanged) {
			if changes++; changes <= maxChanges {
				r.log.Warn("a file has changed while it was fetched, asking for all of them again", "err", err)
				continue
			}
			err = fmt.Errorf("%w: %w", ErrNoSource, err)
		}
		if errors.Is(err, errMissing) {
			err = fmt.Errorf("%w: %w", ErrNoSource, err)
		}
		if err != nil {
			return nil, err
		}
		result.Duration = time.Since(start)
		return result, nil
	}
}

// begin finds out what is to be restored.
func begin(ctx context.Context, opts Options, target string, work *workDir) (r *restore, err error) {
	r = &restore{opts: opts, log: opts.log(), target: target, work: work}
	if opts.Unsigned != nil {
		r.snapshot, err = unsignedSnapshot(ctx, opts, work)
	} else {
		r.snapshot, err = signedSnapshot(ctx, opts)
	}
	if err != nil {
		return nil, err
	}
	r.rawSize = sizeOf(r.table.index)
	r.held = newChunkSet(r.table.chunks())
	return r, r.checkSecrets()
}

func (r *restore) run(ctx context.Context) (result *Result, err error) {
	if r.opts.Progress != nil {
		stop := make(chan struct{})
		var reporter sync.WaitGroup
		reporter.Go(func() { r.report(stop) })
		defer func() { close(stop); reporter.Wait() }()
	}
	r.progress.phase.Store(PhaseVerifying)
	if r.work != nil {
		if done, err := r.finishSwap(); err != nil || done {
			return r.result(&Plan{}), err
		}
	}
	if err := r.checkTarget(); err != nil {
		return nil, err
	}
	defer func() {
		if r.ledger != nil {
			err = errors.Join(err, r.ledger.journal.close())
		}
		if r.tree != nil {
			err = errors.Join(err, r.tree.close())
		}
	}()
	plan, err := r.prepare(ctx)
	if err != nil || r.opts.DryRun {
		return r.result(plan), err
	}
	if r.opts.Confirm != nil {
		if err := r.opts.Confirm(plan); err != nil {
			return nil, err
		}
	}
	if err := plan.checkRoom(); err != nil {
		return nil, err
	}
	if r.opts.InPlace {
		if err := r.guard(); err != nil {
			return nil, err
		}
	}
	if err := r.haveZeros(); err != nil {
		return nil, err
	}
	r.progress.phase.Store(PhaseFetching)
	if err := r.fetch(ctx, func(p string) bool { return !r.opts.InPlace || !r.kind.IsEntry(p) }); err != nil {
		return nil, err
	}
	r.progress.phase.Store(PhaseFinishing)
	result = r.result(plan)
	if r.opts.InPlace {
		return result, r.finishInPlace(ctx)
	}
	result.OldDirectory, err = r.finish()
	return result, err
}

func (r *restore) result(plan *Plan) *Result {
	return &Result{Manifest: r.manifest, Unsigned: r.unsigned(), Plan: plan, FetchedBytes: r.progress.fetched.Load(), ReusedBytes: r.progress.reused.Load()}
}

// checkTarget refuses targets that a restore would harm.
func (r *restore) checkTarget() error {
	info, err := os.Stat(r.target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("target %s: it is not a directory", r.target)
	}
	root, err := os.OpenRoot(r.target)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer root.Close()
	empty, known := true, r.opts.Replace || r.kind.Name == "files"
	err = fs.WalkDir(root.FS(), ".", func(p string, entry fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		empty = false
		if why := database.Secret(p); why != "" || database.SecretDirectory(entry.Name()) && entry.IsDir() {
			return fmt.Errorf("target %s: it has %s, which may be a key of the node: name the database directory alone", r.target, p)
		}
		known = known || r.kind.IsEntry(p) || p == inPlaceMarker
		return nil
	})
	if err != nil {
		return err
	}
	if !empty && !known {
		return fmt.Errorf("target %s: %w: it is not empty and holds no %s database, and all in it would be replaced",
			r.target, ErrConsent, r.kind.Name)
	}
	if _, err := root.Lstat(inPlaceMarker); err == nil && !r.opts.InPlace {
		return fmt.Errorf("target %s: %w by a restore in place that was interrupted: run it again with --in-place", r.target, ErrInUse)
	}
	if !r.opts.InPlace && isMountPoint(r.target, info) {
		return fmt.Errorf("target %s: it is a mount point and cannot be swapped: use --in-place, or a directory inside it", r.target)
	}
	return checkNotHeld(root)
}

func isMountPoint(target string, info fs.FileInfo) bool {
	parent, err := os.Stat(filepath.Dir(target))
	return err == nil && deviceOf(parent) != deviceOf(info)
}
