package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/status"
)

func (p *Publication) byHand() bool { return p.Trigger == "" || p.Trigger == status.ByHand }

// Record is the run as it is on record; its zero value if it never was.
func (p *Publication) Record() status.Run { return p.record }

// begin puts the run on record.
func (p *Publication) begin() (err error) {
	run := status.Run{Channel: p.Channel.Name, Trigger: p.Trigger, Slot: p.Slot, Start: p.start.Round(0)}
	if p.byHand() {
		run.Trigger = status.ByHand
	}
	if run, err = status.RunsIn(p.Config.State).Start(run); err != nil {
		return err
	}
	p.record = run
	p.Log = p.Log.With("run", run.ID)
	if p.Started != nil {
		p.Started(run)
	}
	return nil
}

// end puts on record what became of the run.
func (p *Publication) end(ctx context.Context, done *Published, err error) error {
	r := &p.record
	r.End = time.Now().Round(0)
	r.Outcome = p.outcome(ctx, done, err)
	if err != nil {
		r.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if p.block != nil {
		r.Height, r.Hash = p.block.Number, p.block.Hash
	}
	if p.node != nil {
		r.Node = p.node.Implementation + " " + p.node.Version
	}
	if done != nil {
		r.Version, r.Sequence, r.Fork, r.PauseSeconds = done.Version, done.Sequence, done.Fork, done.Pause.Seconds()
		r.RawBytes, r.ReadBytes, r.ReusedBytes = done.RawBytes, done.ReadBytes, done.ReusedBytes
		r.UploadedBytes, r.FilesBytes = done.UploadedBytes, done.FilesBytes
	}
	if err := status.RunsIn(p.Config.State).End(*r); err != nil {
		return fmt.Errorf("what became of the run is not on record: %w", err)
	}
	return nil
}

func (p *Publication) outcome(ctx context.Context, done *Published, err error) status.Outcome {
	switch {
	case done != nil:
		return status.Published
	case errors.Is(err, publish.ErrConflict):
		return status.Lost
	case ctx.Err() != nil:
		return status.Interrupted
	case p.unfit:
		return status.Postponed
	}
	return status.Failed
}
