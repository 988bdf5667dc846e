package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
)

type publishOptions struct {
	configFile string
	channel    string
}

func publishCommand() *cobra.Command {
	var o publishOptions
	cmd := &cobra.Command{
		Use:   "publish -c FILE CHANNEL",
		Short: "Take a snapshot and publish it, now",
		Long: `Take a snapshot of a channel's database and publish it on all targets. The node is
held for an instant only. What is published already is not uploaded again, and
files that are known unchanged are not even read. Nothing is visible before all
of it is there. Afterwards old versions are dropped as keep: says.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeChannels,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.channel = args[0]
			return runPublish(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	addConfigFlag(cmd, &o.configFile)
	return cmd
}

func runPublish(ctx context.Context, out *term.Output, o publishOptions) error {
	agent, err := config.LoadAgent(o.configFile)
	if err != nil {
		return err
	}
	c, err := configured(agent, o.configFile, o.channel)
	if err != nil {
		return err
	}
	job := &publication{agent: agent, channel: c, out: out, start: time.Now()}
	done, err := job.run(ctx)
	if err != nil {
		return err
	}
	keep := map[string]publish.Keep{c.Name: publish.Keep(c.Keep)}
	pruned, err := job.publisher.Prune(ctx, keep, time.Duration(agent.Grace), false)
	printPruned(out, pruned, false)
	printDone(out, done)
	if err != nil {
		return fmt.Errorf("the new version is published, but old ones could not be pruned: %w", err)
	}
	return nil
}

// publication is one run from the node to the head.
type publication struct {
	agent     *config.Agent
	channel   *config.Channel
	publisher *publish.Publisher
	out       *term.Output
	start     time.Time
}

func (j *publication) run(ctx context.Context) (done *doneEvent, err error) {
	c := j.channel
	kind, err := database.Lookup(c.Database.Kind)
	if err != nil {
		return nil, err
	}
	node := newNode(c, kind)
	forker, err := fork.New(c.Fork)
	if err != nil {
		return nil, err
	}
	lock, err := j.lock()
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	// First of all: a node that an earlier run left paused must not wait for
	// a key that is missing or a target that cannot be reached.
	stateFile := filepath.Join(j.agent.State, c.Name+".snapshot.json")
	if err := snapshot.Recover(ctx, node, stateFile); err != nil {
		return nil, err
	}
	if j.publisher, err = newPublisher(j.agent, j.out.Log()); err != nil {
		return nil, err
	}
	run, err := j.publisher.Begin(ctx, c.Name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	j.printPlan(run, node, forker)
	return j.publish(ctx, run, snapshot.Options{
		Database: c.Database.Path, Kind: kind, Node: node, Forker: forker, Sink: run,
		StateFile: stateFile, Level: c.Compression.Level, MinSaving: c.Compression.MinSaving, Log: j.out.Log(),
	})
}

// publish takes the snapshot and makes it public.
func (j *publication) publish(ctx context.Context, run *publish.Run, o snapshot.Options) (*doneEvent, error) {
	var err error
	if o.Previous, err = j.previous(run); err != nil {
		return nil, err
	}
	display := j.out.NewDisplay()
	defer display.Close()
	o.Progress = func(p snapshot.Progress) {
		display.Show(term.Progress{Phase: "publishing", Done: p.DoneBytes, Total: p.TotalBytes})
	}
	taken, err := snapshot.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	display.Show(term.Progress{Phase: "finishing"})
	receipt, err := run.Commit(ctx, j.manifest(taken), taken.Index)
	display.Close()
	if receipt.Version != "" { // public, even if not everywhere yet
		now := stamps{Version: receipt.Version, Database: j.channel.Database.Path, Files: taken.Stamps}
		err = errors.Join(err, now.save(stampsFile(j.agent.State, j.channel.Name)))
	}
	if err != nil {
		return nil, err
	}
	return j.done(taken, receipt), nil
}

// lock keeps other runs of the channel away from its node. The lock of a
// publish.Run comes too late for that.
func (j *publication) lock() (*flock.Flock, error) {
	if err := os.MkdirAll(j.agent.State, 0o755); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	lock := flock.New(filepath.Join(j.agent.State, j.channel.Name+".run.lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", j.channel.Name, err)
	}
	if !locked {
		return nil, term.WithHint(fmt.Errorf("channel %s: %w: another run holds %s", j.channel.Name, publish.ErrInUse, lock.Path()),
			"wait for it to end")
	}
	return lock, nil
}

func (j *publication) previous(run *publish.Run) (*snapshot.Previous, error) {
	m, index := run.Previous()
	if m == nil {
		return nil, nil
	}
	stamps, err := loadStamps(stampsFile(j.agent.State, j.channel.Name), m.Version, j.channel.Database.Path)
	return &snapshot.Previous{Index: index, Stamps: stamps}, err
}

func (j *publication) manifest(taken *snapshot.Result) *manifest.Manifest {
	c := j.channel
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
