package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/snapshot"
)

// publication is the run for a slot.
func (l *loop) publication(c *channel, slot, now time.Time) job {
	conf, runs := c.config, status.RunsIn(c.agent.State)
	p := &Publication{
		Config: c.agent, Channel: conf, Log: l.Log.With("channel", conf.Name), LogFormat: l.LogFormat, Preflight: l.Preflight(c.agent, conf),
		Trigger: c.slots.trigger(slot, now), Slot: slot, Wait: true,
		Needed: func() (bool, error) {
			// Somebody may have published by hand while this run waited.
			last, ok, err := runs.LastPublished(conf.Name)
			return !ok || last.Trigger != status.ByHand || last.End.Before(slot) || last.End.After(clock()), err
		},
	}
	p.Started = func(r status.Run) {
		p.Log.Info("run started", "trigger", string(r.Trigger), "slot", r.Slot)
	}
	return func(ctx context.Context, progress *progress) func(time.Time) {
		progress.say("publishing")
		p.Progress = func(s snapshot.Progress) {
			if s.TotalBytes > 0 {
				progress.say("publishing %d %%", 100*s.DoneBytes/s.TotalBytes)
			}
		}
		p.Sending = func(done, total int64) {
			if total > 0 {
				progress.say("sending files %d %%", 100*done/total)
			}
		}
		p.Finishing = func() { progress.say("finishing") }
		done, err := p.Run(ctx)
		run := p.Record()
		if toldToStop := run.ID == 0 && ctx.Err() != nil; !toldToStop && !errors.Is(err, ErrNotNeeded) {
			logResult(p.Log, run, done, err)
		}
		left := leftBehind(p.Config, p.Channel)
		return func(now time.Time) {
			if left { // a node that stands still does not wait for the next slot
				c.clean, c.repair = false, attempts{at: now}
			}
			l.ran(c, p, err, now)
		}
	}
}

// ran takes note of a run for a slot.
func (l *loop) ran(c *channel, p *Publication, err error, now time.Time) {
	l.lookout.look()
	run := p.Record()
	if run.Outcome == status.Published {
		c.renew = attempts{at: now.Add(renewalInterval(p.Config))}
	}
	if c.slots == nil {
		return // there is a new schedule, or none
	}
	switch {
	case errors.Is(err, ErrNotNeeded):
		c.slots.serve(p.Slot)
	case run.ID == 0: // it could not be put on record
		c.slots.fail(p.Slot, now, status.Failed)
	default:
		c.slots.ended(run, later(now, run.End)) // the clock may have been set meanwhile
	}
	c.slots.delay = c.jitter()
	if slot, at := c.slots.next(now); slot.Equal(c.slots.tried) && run.Outcome != status.Interrupted {
		l.Log.Info("the run is tried again", "channel", c.name, "slot", slot, "at", at)
	}
}

// logResult says what became of a run: one line for each thing that happened.
func logResult(log *slog.Logger, run status.Run, done *Published, err error) {
	switch run.Outcome {
	case status.Published:
		published := log
		if done.Block != nil {
			published = log.With("height", done.Block.Number)
		}
		published.Info("published", "version", done.Version, "sequence", done.Sequence, "files", done.Files, "raw_bytes", done.RawBytes,
			"read_bytes", done.ReadBytes, "uploaded_bytes", done.UploadedBytes, "files_bytes", done.FilesBytes, "reused_bytes", done.ReusedBytes,
			"pause", done.Pause, "took", done.Took.Round(time.Millisecond))
		logPruned(log, done)
		if err != nil {
			log.Warn("published, but not all is as it should be", because(err)...)
		}
	case status.Lost:
		log.Warn("another agent has published first", "error", err)
	case status.Interrupted:
		log.Warn("the run is interrupted", "error", err)
	case status.Postponed:
		log.Warn("the run is postponed", because(err)...)
	default:
		log.Error("the run has failed", because(err)...)
	}
}

// because is an error in the log, with what to do where the error says so itself.
// What its class suggests is for those who have typed a command.
func because(err error) []any {
	if h := (interface{ Hint() string })(nil); errors.As(err, &h) {
		return []any{"error", err, "hint", h.Hint()}
	}
	if refused := (*snapshot.RefusedError)(nil); errors.As(err, &refused) && refused.Hint != "" {
		return []any{"error", err, "hint", refused.Hint}
	}
	return []any{"error", err}
}

func logPruned(log *slog.Logger, done *Published) {
	if done.Pruned == nil {
		return
	}
	for _, v := range done.Pruned.Dropped {
		log.Info("dropped", "version", v.Version)
	}
	for _, d := range done.Pruned.Deleted {
		if len(d.Objects) > 0 {
			log.Info("pruned", "target", d.Target, "objects", len(d.Objects), "bytes", d.Bytes)
		}
	}
}
