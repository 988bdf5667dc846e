package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/snapshot"
)

// heightCondition is what is wrong with the node's final block, and for how many reasons
// it is; nil if nothing. The node may be unfit for other reasons too.
func heightCondition(cfg *config.Agent, c *Channel) (low *alarm.Condition, reasons int) {
	conf, ok := cfg.Channel(c.Name)
	if !ok || c.Node.State != "unhealthy" || c.Node.Height == 0 {
		return nil, 0
	}
	var texts []string
	if lowest := conf.Preflight.MinHeight; c.Node.Height < lowest {
		texts = append(texts, fmt.Sprintf("the node's final block is %d, below the lowest that is wanted, %d", c.Node.Height, lowest))
	}
	if still := seconds(c.Node.Still); conf.Preflight.Stuck > 0 && still > time.Duration(conf.Preflight.Stuck) {
		texts = append(texts, fmt.Sprintf("the node's final block has been %d for %s", c.Node.Height, term.Span(still)))
	}
	if len(texts) == 0 {
		return nil, 0
	}
	return &alarm.Condition{
		Kind: heightLow, Subject: c.Name, After: lasting, Text: strings.Join(texts, "; "),
		Advice: []string{"Look at the node and its log: it may have lost its peers, or its chain may stand still. Runs are postponed until it goes on."},
	}, len(texts)
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// snapshotConditions are what is wrong with the runs that were made: a block that does
// not grow, and a pause that was too long.
func snapshotConditions(cfg *config.Agent, c *Channel) (all []alarm.Condition) {
	if newest, before := lastPublished(c.Runs); before != nil && before.Height > 0 && newest.Height > 0 && newest.Height <= before.Height {
		all = append(all, alarm.Condition{
			Kind: snapshotsStuck, Subject: c.Name,
			Text:   fmt.Sprintf("the newest snapshot, %s, ends at block %d, and the one before it, %s, at %d", newest.Version, newest.Height, before.Version, before.Height),
			Advice: []string{"Those who fetch get nothing newer. Look whether the node follows its chain, and whether rpc: is that of the node whose database is published."},
		})
	}
	conf, ok := cfg.Channel(c.Name)
	r := lastEnded(c.Runs)
	if !ok || r == nil {
		return all
	}
	var text string
	limit := longPause(cfg, conf)
	switch pause := time.Duration(r.PauseSeconds * float64(time.Second)); {
	case isCutOff(r):
		text = fmt.Sprintf("run %d was cut off: it held the node for %s, the most that is allowed", r.ID, term.Span(time.Duration(conf.MaxPause)))
	case limit > 0 && pause > limit:
		text = fmt.Sprintf("run %d held the node for %s, longer than %s", r.ID, pause.Round(time.Millisecond), limit)
	default:
		return all
	}
	return append(all, alarm.Condition{
		Kind: pauseLong, Subject: c.Name, Text: text,
		Advice: []string{"See in qsyncd doctor which fork is used: reflink, btrfs and hardlink take milliseconds, copy as long as the database is large. A disk under load makes any of them slow."},
	})
}

// longPause is how long a pause is too long.
func longPause(cfg *config.Agent, c *config.Channel) time.Duration {
	if cfg.Alarms != nil && cfg.Alarms.Pause > 0 {
		return time.Duration(cfg.Alarms.Pause)
	}
	return time.Duration(c.MaxPause) / 2
}

// lastPublished are the newest run that has published and the one before it, nil if
// there is none.
func lastPublished(runs []status.Run) (newest, before *status.Run) {
	for i := range runs {
		switch {
		case runs[i].Outcome != status.Published:
		case newest == nil:
			newest = &runs[i]
		default:
			return newest, &runs[i]
		}
	}
	return newest, nil
}

// isCutOff reports whether a run failed because it held the node for as long as it may.
func isCutOff(r *status.Run) bool {
	return r.Outcome == status.Failed && strings.Contains(r.Error, snapshot.ErrPause.Error())
}
