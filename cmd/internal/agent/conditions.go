package agent

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/status"
)

// The kinds of what may be wrong.
const (
	runFailed         = "run"
	nodeUnhealthy     = "node"
	headExpires       = "head"
	targetUnreachable = "target"
	diskLow           = "disk"
	heightLow         = "height"
	snapshotsStuck    = "snapshots"
	pauseLong         = "pause"
	overLimit         = "limit"
	damageFound       = "damage"
)

// conditionKinds are those that each look is about. What is broken and what is down are
// looked at by themselves.
var conditionKinds = []string{
	runFailed, nodeUnhealthy, headExpires, targetUnreachable, diskLow, heightLow, snapshotsStuck, pauseLong, overLimit,
}

// allConditionKinds are what the metrics count.
var allConditionKinds = append(slices.Clip(conditionKinds), damageFound, locationDown)

const (
	// lasting is how long something that may be gone in a moment must last before
	// anybody is told: a node that is held for a run does not answer, for one.
	lasting = watchInterval
	// lowDisk is the share of a disk that should stay free, and enoughDisk what is
	// enough of any.
	lowDisk    = 0.05
	enoughDisk = 100 << 30 // bytes
)

// watch looks for what is wrong, and has it told.
func (a *alarming) watch(ctx context.Context, cfg *config.Agent, events <-chan struct{}, posted chan<- struct{}) {
	outbox := alarm.In(cfg.State)
	w := &alarm.Watch{Publisher: cfg.Publisher, Repeat: time.Duration(cfg.Alarms.Repeat), Quiet: quietHours(cfg)}
	every(ctx, watchInterval, events, func() {
		seen := a.lookout.last.Load()
		if seen == nil || seen.err != nil || !reflect.DeepEqual(seen.config, cfg) {
			return // it is told of the next look
		}
		looked, wrong := conditions(cfg, seen)
		if err := w.Look(outbox, clock(), looked, wrong); err != nil {
			a.log.Error("what is wrong cannot be looked for", "error", err)
			return
		}
		tell(posted)
	})
}

// quietHours are those of the configuration, nil if it has none.
func quietHours(cfg *config.Agent) func(time.Time) bool {
	hours := cfg.Alarms.Quiet
	zone, err := time.LoadLocation(cfg.TimeZone)
	if hours == (config.Hours{}) || err != nil {
		return nil
	}
	return func(t time.Time) bool { return hours.Contain(t.In(zone)) }
}

// conditions are what was wrong when somebody looked, of the kinds that were looked at.
func conditions(cfg *config.Agent, seen *sight) (looked []string, all []alarm.Condition) {
	looked = conditionKinds
	if seen.overview.scrubbed {
		looked = append(slices.Clip(looked), damageFound)
	}
	for _, c := range seen.overview.Channels {
		all = append(all, channelConditions(cfg, c, clock())...)
	}
	all = append(all, targetConditions(seen.targets)...)
	all = append(all, damageConditions(seen.overview.damaged, clock())...)
	all = append(all, limitConditions(seen.overview.Quota)...)
	return looked, append(all, diskConditions(seen.overview.Disks)...)
}

// channelConditions are those of a channel.
func channelConditions(cfg *config.Agent, c *Channel, now time.Time) (all []alarm.Condition) {
	advice := []string{"qsyncd status shows the last runs, and qsyncd doctor looks for the cause."}
	if r := lastEnded(c.Runs); r != nil && r.Outcome == status.Failed && !isCutOff(r) { // which is told as a pause
		all = append(all, alarm.Condition{
			Kind: runFailed, Subject: c.Name, Advice: advice,
			Text: fmt.Sprintf("run %d of %s has failed: %s", r.ID, r.Start.UTC().Format("2006-01-02 15:04 MST"), r.Error),
		})
	}
	low, reasons := heightCondition(cfg, c)
	if low != nil {
		all = append(all, *low)
	}
	all = append(all, snapshotConditions(cfg, c)...)
	if c.Node.State == "unhealthy" && (low == nil || c.Node.reasons > reasons) { // else that says it all
		all = append(all, alarm.Condition{
			Kind: nodeUnhealthy, Subject: c.Name, After: lasting,
			Text:   "the node is not fit to be published from: " + c.Node.Detail,
			Advice: []string{"Look at the node and its log. Runs are postponed until it is well."},
		})
	}
	if h := c.Head; h != nil {
		if left := h.Expires.Sub(now); left < renewalInterval(cfg) {
			text := fmt.Sprintf("the head expires at %s, and is not renewed", h.Expires.UTC().Format("2006-01-02 15:04 MST"))
			if left <= 0 {
				text = fmt.Sprintf("the head has expired at %s: nobody accepts it", h.Expires.UTC().Format("2006-01-02 15:04 MST"))
			}
			all = append(all, alarm.Condition{Kind: headExpires, Subject: c.Name, Text: text, After: lasting, Advice: advice})
		}
	}
	return all
}

// lastEnded is the newest run that is over, nil if there is none.
func lastEnded(runs []status.Run) *status.Run {
	i := slices.IndexFunc(runs, func(r status.Run) bool { return r.Outcome != status.Running && r.Outcome != status.Interrupted })
	if i < 0 {
		return nil
	}
	return &runs[i]
}

// targetConditions are the targets that do not answer.
func targetConditions(targets []reached) (all []alarm.Condition) {
	for _, t := range targets {
		if t.err != nil {
			all = append(all, alarm.Condition{
				Kind: targetUnreachable, Subject: t.name, After: lasting,
				Text:   "the target does not answer: " + t.err.Error(),
				Advice: []string{"Nothing can be published there. qsyncd doctor looks for the cause."},
			})
		}
	}
	return all
}

// diskConditions are the disks that are nearly full.
func diskConditions(disks []Disk) (all []alarm.Condition) {
	for _, d := range disks {
		if d.Free < enoughDisk && float64(d.Free) < lowDisk*float64(d.Total) {
			all = append(all, alarm.Condition{
				Kind: diskLow, Subject: d.Path, After: lasting,
				Text:   fmt.Sprintf("the disk of the %s is nearly full: %.1f %% are free", d.Holds, 100*float64(d.Free)/float64(d.Total)),
				Advice: []string{"Make room: on a full disk nothing is published, what is signed cannot be renewed, and the node may stop."},
			})
		}
	}
	return all
}
