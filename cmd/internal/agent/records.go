package agent

import (
	"context"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/status"
)

// records are what the state directory has on record, and how much room there is.
type records struct {
	at       time.Time
	config   *config.Agent
	channels []recorded
	// locations are those where channels are probed.
	locations []status.Location
	overview  *Overview // its alarms and quotas
	scrub     scrubRecord
	disks     []Disk // each once
	err       error  // why the rest may be missing
}

// recorded is what there is of a channel.
type recorded struct {
	*Channel
	totals status.Totals
}

// recordInterval is how often is looked whether anything new is on record, and
// longestRecord how old what is known of it may be: rooms change without a word, and a
// scrub writes down how far it is all the time.
const (
	recordInterval = 2 * time.Second
	longestRecord  = time.Minute
)

// read reads the records whenever they have changed.
func (l *lookout) read(ctx context.Context, cfg *config.Agent) {
	var was []os.FileInfo
	every(ctx, recordInterval, nil, func() {
		is := recordFiles(cfg.State)
		if known := l.notes.Load(); known != nil && known.config == cfg && clock().Sub(known.at) < longestRecord && slices.EqualFunc(is, was, sameFile) {
			return
		}
		was = is
		l.notes.Store(readRecords(cfg))
	})
}

// recordFiles are the files of the records, as they are now; nil is none.
func recordFiles(state string) (all []os.FileInfo) {
	for _, file := range []string{status.RunsIn(state).File(), status.ProbesIn(state).File(), alarm.In(state).File()} {
		info, _ := os.Stat(file) // which is made by the first who writes
		all = append(all, info)
	}
	return all
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func readRecords(cfg *config.Agent) *records {
	r := &records{at: clock(), config: cfg, overview: &Overview{}, disks: eachOnce(disks(cfg))}
	runs := status.RunsIn(cfg.State)
	for i := range cfg.Channels {
		c := recorded{Channel: &Channel{Name: cfg.Channels[i].Name}}
		err := c.lookAtRuns(cfg, &cfg.Channels[i], true)
		if err == nil {
			c.totals, err = runs.Totals(c.Name)
		}
		if err != nil {
			r.err = err // that of the others is the same file
			break
		}
		r.channels = append(r.channels, c)
	}
	var err error
	if r.locations, err = status.ProbesIn(cfg.State).Locations(); err != nil {
		r.err = err
	}
	if r.scrub, err = readScrub(cfg); err != nil {
		r.err = err
	}
	r.overview.lookAtAlarms(cfg)
	return r
}

// eachOnce leaves out the directories that are on the disk of another one, or not there.
func eachOnce(disks []Disk) []Disk {
	seen := map[uint64]bool{}
	return slices.DeleteFunc(disks, func(d Disk) bool {
		var s unix.Stat_t
		if err := unix.Stat(d.Path, &s); err != nil || seen[s.Dev] {
			return true
		}
		seen[s.Dev] = true
		return false
	})
}
