package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/snapshot"
)

// Publication is one run on a channel, from the node to the head.
type Publication struct {
	Config  *config.Agent
	Channel *config.Channel
	Log     *slog.Logger

	// What is told while it runs; each may be nil.
	Planned   func(Plan)              // once, before the node is touched
	Progress  func(snapshot.Progress) // while the snapshot is sealed
	Finishing func()                  // when it is sealed, and not yet public

	publisher *publish.Publisher
	start     time.Time
}

// Plan is what a run is about to do.
type Plan struct {
	Channel, Database, Kind string
	Node, Fork              string
	Previous                string // the version before; empty if there is none
	Targets                 []string
}

// Published is what a run has done.
type Published struct {
	Channel, Version string
	Sequence         int64 // of the head
	Files            int
	RawBytes         int64
	ReadBytes        int64 // from the fork
	UploadedBytes    int64
	ReusedBytes      int64 // stored bytes that were on the targets already
	Fork             string
	Block            *manifest.Block // nil if nobody could be asked
	Pause, Took      time.Duration
	Pruned           *publish.Pruned
}

// Run takes a snapshot, makes it public and drops what is too old. With an error
// a result says that the snapshot is public all the same.
func (p *Publication) Run(ctx context.Context) (*Published, error) {
	p.start = time.Now()
	lock, err := p.lock()
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	done, err := p.run(ctx)
	if done == nil {
		return nil, err
	}
	keep := map[string]publish.Keep{p.Channel.Name: publish.Keep(p.Channel.Keep)}
	var pruneErr error
	if done.Pruned, pruneErr = p.publisher.Prune(ctx, keep, time.Duration(p.Config.Grace), false); pruneErr != nil {
		err = errors.Join(err, fmt.Errorf("the new version is published, but old ones could not be pruned: %w", pruneErr))
	}
	done.Took = time.Since(p.start)
	return done, err
}

func (p *Publication) run(ctx context.Context) (done *Published, err error) {
	o, err := p.options()
	if err != nil {
		return nil, err
	}
	// First of all: a node that an earlier run left paused must not wait for
	// a key that is missing or a target that cannot be reached.
	if err := snapshot.Recover(ctx, o.Node, o.Forker, o.StateFile); err != nil {
		return nil, err
	}
	if p.publisher, err = NewPublisher(p.Config, p.Log); err != nil {
		return nil, err
	}
	run, err := p.publisher.Begin(ctx, p.Channel.Name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	if p.Planned != nil {
		p.Planned(p.plan(run, o))
	}
	if o.Previous, err = p.previous(run); err != nil {
		return nil, err
	}
	o.Sink = run
	taken, err := snapshot.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	if p.Finishing != nil {
		p.Finishing()
	}
	m := p.manifest(taken)
	receipt, err := run.Commit(ctx, m, taken.Index)
	if receipt.Version == "" {
		return nil, err
	}
	// Public, even if not everywhere yet.
	now := stamps{Version: receipt.Version, Database: p.Channel.Database.Path, Files: taken.Stamps}
	err = errors.Join(err, now.save(stampsFile(p.Config.State, p.Channel.Name)))
	return &Published{
		Channel: p.Channel.Name, Version: receipt.Version, Sequence: receipt.Sequence, Files: len(taken.Index.Files),
		RawBytes: taken.RawBytes, ReadBytes: taken.ReadBytes, UploadedBytes: receipt.UploadedBytes, ReusedBytes: receipt.ReusedBytes,
		Fork: taken.Fork, Block: m.Block, Pause: taken.Pause,
	}, err
}

// options are those of the snapshot, but its sink and previous version.
func (p *Publication) options() (o snapshot.Options, err error) {
	c := p.Channel
	o = snapshot.Options{
		Database: c.Database.Path, StateFile: stateFile(p.Config, c), MaxPause: time.Duration(c.MaxPause),
		Level: c.Compression.Level, MinSaving: c.Compression.MinSaving, Log: p.Log, Progress: p.Progress,
	}
	if o.Kind, err = database.Lookup(c.Database.Kind); err != nil {
		return o, err
	}
	if o.Node, err = NewNode(c); err != nil {
		return o, err
	}
	if o.Forker, err = NewForker(c); err != nil {
		return o, err
	}
	o.Guard, err = newGuard(c)
	return o, err
}

// stateFile is where the runs of a channel record that they hold its node.
func stateFile(a *config.Agent, c *config.Channel) string {
	return filepath.Join(a.State, c.Name+".snapshot.json")
}

func (p *Publication) plan(run *publish.Run, o snapshot.Options) Plan {
	c := p.Channel
	plan := Plan{
		Channel: c.Name, Database: c.Database.Path, Kind: c.Database.Kind, Node: o.Node.String(), Fork: o.Forker.String(),
	}
	if m, _ := run.Previous(); m != nil {
		plan.Previous = m.Version
	}
	for _, t := range p.publisher.Targets {
		plan.Targets = append(plan.Targets, t.String())
	}
	return plan
}

// lock keeps other runs of the channel away from its node. The lock of a
// publish.Run comes too late for that.
func (p *Publication) lock() (*flock.Flock, error) {
	if err := os.MkdirAll(p.Config.State, 0o755); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	lock := flock.New(filepath.Join(p.Config.State, p.Channel.Name+".run.lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", p.Channel.Name, err)
	}
	if !locked {
		return nil, term.WithHint(fmt.Errorf("channel %s: %w: another run holds %s", p.Channel.Name, publish.ErrInUse, lock.Path()),
			"wait for it to end")
	}
	return lock, nil
}

func (p *Publication) previous(run *publish.Run) (*snapshot.Previous, error) {
	m, index := run.Previous()
	if m == nil {
		return nil, nil
	}
	stamps, err := loadStamps(stampsFile(p.Config.State, p.Channel.Name), m.Version, p.Channel.Database.Path)
	return &snapshot.Previous{Index: index, Stamps: stamps}, err
}

func (p *Publication) manifest(taken *snapshot.Result) *manifest.Manifest {
	c := p.Channel
	return &manifest.Manifest{
		Channel: c.Name,
		Version: taken.Cut.UTC().Format(manifest.VersionFormat),
		Chain:   identity(c),
		Database: manifest.Database{
			Kind:          c.Database.Kind,
			Directory:     directoryBelowBase(c),
			StatePruning:  c.Database.StatePruning,
			BlocksPruning: c.Database.BlocksPruning,
			VersionFiles:  taken.VersionFiles,
		},
	}
}
