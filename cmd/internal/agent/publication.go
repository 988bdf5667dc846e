package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/gofrs/flock"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/ipfs"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/chain"
	"github.com/qsync/qsync/snapshot/guard"
)

// Publication is one run on a channel, from the node to the head.
type Publication struct {
	Config    *config.Agent
	Channel   *config.Channel
	Log       *slog.Logger
	LogFormat string    // what a guard writes to it; empty is text for people
	Preflight Preflight // nil if nobody can be asked

	Trigger status.Trigger // empty is by hand
	Slot    time.Time      // of the schedule; zero by hand
	// Wait lets the run wait for another one on the channel, instead of failing.
	Wait bool
	// Needed is asked when the channel is locked. It may be nil, which is yes. If
	// it says no the run does nothing, and fails with ErrNotNeeded.
	Needed func() (bool, error)

	// What is told while it runs; each may be nil.
	Started   func(status.Run)        // once, when it is on record
	Planned   func(Plan)              // once, before the node is touched
	Progress  func(snapshot.Progress) // while the snapshot is sealed
	Sending   func(done, total int64) // bytes, while its files are sent to targets of files
	Finishing func()                  // when it is sealed, and not yet public

	publisher *publish.Publisher
	start     time.Time
	record    status.Run
	block     *manifest.Block
	node      *manifest.Node
	unfit     bool // the node was, at the moment
}

// ErrNotNeeded says that a run was not made because another one has served.
var ErrNotNeeded = errors.New("another run has published already")

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
	FilesBytes       int64 // sent to targets of files
	ReusedBytes      int64 // stored bytes that were on the targets already
	Fork             string
	Block            *manifest.Block // nil if nobody could be asked
	Pause, Took      time.Duration
	Pruned           *publish.Pruned
}

// Run takes a snapshot, makes it public and drops what is too old. With an error
// a result says that the snapshot is public all the same.
func (p *Publication) Run(ctx context.Context) (*Published, error) {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	lock, err := p.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock(lock)
	p.start = time.Now()
	// First of all: a node that an earlier run left paused must not wait for a
	// record that cannot be written, a key that is missing or a target that cannot be
	// reached.
	o, err := options(p.Config, p.Channel)
	if err == nil {
		err = undo(ctx, p.Config, p.Channel, o, waitForLock, p.program(), p.Log)
	}
	if p.Needed != nil {
		if needed, neededErr := p.Needed(); neededErr != nil || !needed && err == nil {
			return nil, cmp.Or(errors.Join(err, neededErr), ErrNotNeeded)
		}
	}
	if recordErr := p.begin(); recordErr != nil {
		return nil, errors.Join(err, recordErr)
	}
	var done *Published
	if err == nil {
		done, err = p.publish(ctx, o)
	}
	return done, errors.Join(err, p.end(ctx, done, err))
}

// publish is the run as far as it is on record.
func (p *Publication) publish(ctx context.Context, o snapshot.Options) (*Published, error) {
	done, err := p.run(ctx, o)
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

func (p *Publication) run(ctx context.Context, o snapshot.Options) (done *Published, err error) {
	if err := p.preflight(ctx); err != nil {
		return nil, err
	}
	if p.publisher, err = NewPublisher(p.Config, p.Log); err != nil {
		return nil, err
	}
	if p.Config.IPFS != nil {
		view, err := OpenView(p.Config, p.publisher)
		if err != nil {
			return nil, err
		}
		defer view.Close()
		p.publisher.Addresses = view
		defer func() {
			if done != nil {
				err = errors.Join(err, p.addTrees(ctx, view))
			}
		}()
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
	if err := outlast(ctx, run); err != nil {
		return nil, err
	}
	o.Sink, o.Log, o.Progress, o.BootCheck = run, p.Log, p.Progress, p.bootCheck()
	o.Resumed = p.askAgain
	p.putFiles(run, &o)
	if o.Guard != nil {
		if g, ok := o.Guard.(*guard.Process); ok && p.LogFormat != "" {
			g.Args = append(g.Args, "--log-format", p.LogFormat, "--channel", p.Channel.Name, "--run", strconv.FormatUint(p.record.ID, 10))
		}
		o.Guard = &oneAtATime{o.Guard, func(ctx context.Context) (func(), error) {
			return lockNode(ctx, p.Config, p.Channel, waitForLock, Holder{Program: p.program(), Doing: "holding it for " + p.Channel.Name}, p.Log)
		}}
	}
	restore := allowMemory(int64(o.Workers) * workerMemory)
	defer restore()
	taken, err := snapshot.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	restore()
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
		RawBytes: taken.RawBytes, ReadBytes: taken.ReadBytes, UploadedBytes: receipt.UploadedBytes,
		FilesBytes: receipt.FilesBytes, ReusedBytes: receipt.ReusedBytes,
		Fork: taken.Fork, Block: m.Block, Pause: taken.Pause,
	}, err
}

// addTrees has the blocks on IPFS of what is public now at hand for the agent's node, while
// it is known what the run's segments consist of.
func (p *Publication) addTrees(ctx context.Context, view *ipfs.View) error {
	live, err := p.publisher.Live(ctx, p.Channel.Name)
	for _, v := range live {
		if err == nil && v.Manifest.IPFS != nil {
			err = addVersion(ctx, view, v)
		}
	}
	if err != nil {
		return fmt.Errorf("the new version is published, but the node of IPFS has to read it: %w", err)
	}
	return nil
}

// putFiles has the snapshot's files put where there are targets of files.
func (p *Publication) putFiles(run *publish.Run, o *snapshot.Options) {
	need := run.FilesNeed()
	if need == publish.NoFiles {
		return
	}
	if need == publish.AllFiles && o.Previous != nil {
		o.Previous.Stamps = nil // what is known unchanged is in no fork
	}
	o.CheckPath = run.CheckPath
	o.Sealed = func(ctx context.Context, taken *snapshot.Result, open func(path string) (*os.File, error)) error {
		return run.PutFiles(ctx, version(taken), taken.Index, func(path string) (publish.File, error) { return open(path) }, p.Sending)
	}
}

// version is the name of a snapshot.
func version(taken *snapshot.Result) string { return taken.Cut.UTC().Format(manifest.VersionFormat) }

// outlast waits for the end of the second that the version before is named after:
// one that waited for another run is there within it.
func outlast(ctx context.Context, run *publish.Run) error {
	m, _ := run.Previous()
	if m == nil || m.Version != time.Now().UTC().Format(manifest.VersionFormat) {
		return nil
	}
	now := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(now.Truncate(time.Second).Add(time.Second).Sub(now)):
		return nil
	}
}

// preflight asks the node, before anything is held or sent.
func (p *Publication) preflight(ctx context.Context) (err error) {
	if p.Preflight == nil {
		p.Log.Info("nobody asks whether the node is healthy: the channel has no rpc")
		return nil
	}
	p.block, p.node, err = p.Preflight(ctx)
	// Whatever it is, it may pass; a node that is being restarted does not answer.
	p.unfit = err != nil && !errors.Is(err, chain.ErrWrongNode)
	return err
}

// afterTimeout bounds the question after the cut: a node that was stopped may not
// answer yet, and the snapshot does not wait for it.
const afterTimeout = 5 * time.Second

// askAgain notes which block the node has when it goes on: the snapshot's last one
// lies between that before the cut and this.
func (p *Publication) askAgain(ctx context.Context) {
	if p.block == nil || p.Channel.RPC == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, afterTimeout)
	defer cancel()
	block, err := newInquiry(p.Config, p.Channel).client.Block(ctx)
	if err != nil {
		p.Log.Info("the node does not say which block it has after the cut", "error", err)
		return
	}
	p.record.HeightAfter = block.Number
	p.Log.Info("the node goes on", "height_before", p.block.Number, "height_after", block.Number)
}

// options are those of a snapshot that the configuration says.
func options(a *config.Agent, c *config.Channel) (o snapshot.Options, err error) {
	o = snapshot.Options{
		Database: c.Database.Path, StateFile: stateFile(a, c), MaxPause: time.Duration(c.MaxPause),
		Level: c.Compression.Level, MinSaving: c.Compression.MinSaving,
	}
	if slices.ContainsFunc(a.Targets, func(t config.Target) bool { return t.S3 != nil }) {
		o.Workers = bucketWorkers
	}
	if o.Kind, err = database.Lookup(c.Database.Kind); err != nil {
		return o, err
	}
	if o.Node, err = heldNode(a.State, c); err != nil {
		return o, err
	}
	if o.Forker, err = NewForker(c); err != nil {
		return o, err
	}
	o.Guard, err = newGuard(a.State, c)
	return o, err
}

// bucketWorkers is how many segments are sealed, or on their way to a bucket, at a
// time: most of them wait for the store, whose connections are slower than a disk.
const bucketWorkers = 8

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
func (p *Publication) lock(ctx context.Context) (*flock.Flock, error) {
	me := Holder{Program: p.program(), Doing: "publishing"}
	take := lock
	if p.Wait {
		take = waitForLock
	}
	return take(ctx, runLockFile(p.Config.State, p.Channel.Name), "channel "+p.Channel.Name, me, p.Log)
}

// program is who makes the run.
func (p *Publication) program() string {
	if p.byHand() {
		return byHand
	}
	return theAgent
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
		Version: version(taken),
		Chain:   identity(c),
		Block:   p.block,
		Node:    p.node,
		Database: manifest.Database{
			Kind:          c.Database.Kind,
			Directory:     directoryBelowBase(c),
			StatePruning:  c.Database.StatePruning,
			BlocksPruning: c.Database.BlocksPruning,
			VersionFiles:  taken.VersionFiles,
		},
		Locations: locations(p.Config.Targets),
	}
}
