package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
)

// maxWorkers bounds the default number of workers: each takes memory, and four
// compress faster than most networks carry away.
const maxWorkers = 4

// Run takes a snapshot of a database: see the package's description for the
// order of its steps. Whatever happens, the node goes on and the fork is removed;
// what was put in the sink before an error stays there.
func Run(ctx context.Context, o Options) (_ *Result, err error) {
	r, err := newRun(o)
	if err != nil {
		return nil, err
	}
	if err := Recover(ctx, o.Node, o.Forker, o.StateFile); err != nil {
		return nil, err
	}
	before, err := r.look()
	if err != nil {
		return nil, err
	}
	if err := r.checkPaths(before); err != nil {
		return nil, err
	}
	if len(before.Foreign) > 0 {
		r.log.Info("files that are not part of the database are left out", "files", len(before.Foreign), "first", before.Foreign[0])
	}
	unchanged := r.setUnchangedAside(before)
	if r.BootCheck != nil { // a database boots only if it is whole
		r.unread = unchanged.stamps()
		before.Files = append(before.Files, unchanged.Files...)
		before.sort()
	}
	r.state = state{Database: r.dir, Node: r.Node.String(), Since: time.Now().UTC()}
	if err := r.state.save(r.StateFile); err != nil {
		return nil, err
	}
	fork, err := o.Forker.Begin(ctx, before)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fork %s: %w", r.dir, err), removeState(r.StateFile))
	}
	defer func() { err = errors.Join(err, r.release(fork)) }()
	if err := r.cut(ctx, fork); err != nil {
		return nil, err
	}
	r.log.Info("the database is forked and the node goes on", "fork", fork.String(), "pause", r.pause,
		"files", len(r.forked.Files), "unchanged", len(r.unchanged.Files))
	if r.Resumed != nil {
		r.Resumed(ctx)
	}
	if r.BootCheck != nil {
		if err := r.bootCheck(ctx, fork); err != nil {
			return nil, err
		}
	}
	return r.seal(ctx, fork)
}

// run is one run of Run.
type run struct {
	Options
	dir   string // the database, absolute and free of symbolic links
	log   *slog.Logger
	state state

	// The files at the cut: those that the fork holds, and those that are known
	// to be what they were in the previous version.
	forked    *Tree
	unchanged *Tree
	unread    map[string]Stamp // of forked files that need not be read all the same, as they first looked

	cutAt time.Time
	pause time.Duration
	stuck atomic.Bool // the node could not be resumed
}

func newRun(o Options) (*run, error) {
	dir, err := filepath.Abs(o.Database)
	if err != nil {
		return nil, err
	}
	// The fork must lie beside the directory itself, not beside a link to it.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("find the database: %w", err)
	}
	r := &run{Options: o, dir: dir, log: o.Log}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.Level == 0 {
		r.Level = 3
	}
	if r.MinSaving == 0 {
		r.MinSaving = manifest.DefaultMinSaving
	}
	if r.Workers == 0 {
		r.Workers = min(runtime.NumCPU(), maxWorkers)
	}
	return r, nil
}

func (r *run) look() (*Tree, error) {
	t, err := look(r.dir, r.Kind)
	if err != nil {
		return nil, err
	}
	return t, t.check()
}

func (r *run) checkPaths(t *Tree) error {
	if r.CheckPath == nil {
		return nil
	}
	for _, e := range t.Files {
		if err := r.CheckPath(e.Path); err != nil {
			return fmt.Errorf("publish %s: %w", t.Dir, err)
		}
	}
	return nil
}

// setUnchangedAside moves the files that are known unchanged since the previous
// version out of the tree and returns them. Only files that their engine never writes
// twice are trusted to their times.
func (r *run) setUnchangedAside(t *Tree) *Tree {
	unchanged := &Tree{Dir: t.Dir, Kind: t.Kind}
	if r.Previous == nil || r.Previous.Index == nil {
		return unchanged
	}
	rest := make([]Entry, 0, len(t.Files))
	for _, e := range t.Files {
		stamp, ok := r.Previous.Stamps[e.Path]
		if ok && e.Class == database.Immutable && stamp == e.Stamp && r.Previous.file(e) != nil {
			unchanged.Files = append(unchanged.Files, e)
		} else {
			rest = append(rest, e)
		}
	}
	t.Files = rest
	return unchanged
}

// cut freezes the files between quiesce and resume.
func (r *run) cut(ctx context.Context, fork Fork) (err error) {
	r.state.Quiesced = true
	if err := r.state.save(r.StateFile); err != nil {
		return err
	}
	err = r.hold(ctx, fork)
	if r.stuck.Load() {
		return err
	}
	// After an error too: should the fork stay, whoever removes it must not start a
	// node that somebody has stopped since.
	r.state.Quiesced = false
	return errors.Join(err, r.state.save(r.StateFile))
}

// hold is the pause. Nothing that can be done before or after it belongs here.
func (r *run) hold(ctx context.Context, fork Fork) (err error) {
	stop, err := r.watch(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop(r.stuck.Load())) }()

	start := time.Now()
	if r.MaxPause > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.MaxPause, fmt.Errorf("%w: the node was held for %s, the most that is allowed", ErrPause, r.MaxPause))
		defer cancel()
	}
	// A cut that hangs in the kernel hears of no deadline: the node goes on without it.
	early := make(chan struct{})
	inTime := context.AfterFunc(ctx, func() {
		defer close(early)
		_ = r.resume(ctx) // done again below, and the error is told there
	})
	defer func() { // also when Cut panics
		if !inTime() {
			<-early
			err = errors.Join(context.Cause(ctx), err)
		}
		// Always, and after Quiesce has returned, which may have come late.
		err = errors.Join(err, r.resume(ctx))
		r.pause = time.Since(start)
	}()
	if err := r.Node.Quiesce(ctx); err != nil {
		return fmt.Errorf("quiesce %s: %w", r.Node, err)
	}
	r.cutAt = time.Now().UTC()
	if r.forked, err = look(r.dir, r.Kind); err != nil {
		return err
	}
	r.unchanged = &Tree{Dir: r.dir, Kind: r.Kind}
	if r.BootCheck == nil {
		r.unchanged = r.setUnchangedAside(r.forked)
	}
	if err := fork.Cut(ctx, r.forked); err != nil {
		return fmt.Errorf("fork %s: %w", r.dir, err)
	}
	return nil
}

// watch has the guard watch this process.
func (r *run) watch(ctx context.Context) (stop func(held bool) error, err error) {
	if r.Guard == nil {
		return func(bool) error { return nil }, nil
	}
	limit := r.MaxPause
	if limit > 0 {
		limit += guardDelay
	}
	if stop, err = r.Guard.Watch(ctx, limit); err != nil {
		return nil, fmt.Errorf("set a guard for %s: %w", r.Node, err)
	}
	return stop, nil
}

// guardDelay is how much longer than this process the guard waits.
const guardDelay = time.Second

func (r *run) resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resumeTimeout)
	defer cancel()
	if err := r.Node.Resume(ctx); err != nil {
		r.stuck.Store(!errors.Is(err, ErrNodeGone))
		return fmt.Errorf("resume %s: %w", r.Node, err)
	}
	r.stuck.Store(false)
	return nil
}

// bootCheck lets a private copy of the fork be judged.
func (r *run) bootCheck(ctx context.Context, fork Fork) (err error) {
	copier, ok := fork.(Copier)
	if !ok {
		return fmt.Errorf("check that the snapshot boots: no copy can be made of %s", fork)
	}
	dir, release, err := copier.Copy(ctx, r.forked)
	if err != nil {
		return fmt.Errorf("copy the fork for the boot check: %w", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := r.BootCheck(ctx, dir); err != nil {
		return fmt.Errorf("the snapshot is not published, it failed the boot check: %w", err)
	}
	return nil
}

// release removes the fork, and then the record of it. A node that could not be
// resumed stays on record, so that the next start tries again.
func (r *run) release(fork Fork) error {
	if err := fork.Release(); err != nil {
		return err
	}
	if r.stuck.Load() {
		return nil
	}
	return removeState(r.StateFile)
}
