package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/ipfs/mirror"
	"github.com/qsync/qsync/publish/quota"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/snapshot/chain"
)

// Overview is how an agent and its channels do.
type Overview struct {
	OK        bool            `json:"ok"` // the agent lives, and all channels and mirrors are ok
	Publisher string          `json:"publisher"`
	Problems  []string        `json:"problems,omitempty"` // but those of channels
	Agent     *Holder         `json:"agent,omitempty"`    // nil if it does not run
	Channels  []*Channel      `json:"channels"`
	Mirrors   []mirror.Status `json:"mirrors,omitempty"`
	Alarms    *alarm.Status   `json:"alarms,omitempty"` // nil if none are configured
	Quota     []Quota         `json:"quota,omitempty"`
	Scrub     *Scrub          `json:"scrub,omitempty"` // nil before anything was scrubbed
	Disks     []Disk          `json:"disks"`

	damaged  []status.Damage // all that is on record
	scrubbed bool            // the record could be read
}

// Disk is the room in a directory.
type Disk struct {
	Path  string `json:"path"`
	Holds string `json:"holds"`
	Free  int64  `json:"free_bytes"` // for this user
	Total int64  `json:"total_bytes"`
}

// How many runs an overview shows, and how long it waits for a node and for a
// target.
const (
	overviewRuns  = 5
	nodeTimeout   = 3 * time.Second
	targetTimeout = 15 * time.Second
)

// askNode is how a node is asked for its health.
type askNode func(context.Context, *config.Agent, *config.Channel) (chain.Health, error)

// Look returns an overview. It asks the nodes by ask, which is [AskNode], or none if
// that is nil. What cannot be found out is a problem of the channel; only a record that
// cannot be read is an error.
func Look(ctx context.Context, a *config.Agent, ask askNode) (*Overview, error) {
	o := &Overview{Publisher: a.Publisher, Disks: disks(a)}
	if holder, alive := held(agentLockFile(a.State)); alive {
		o.Agent = &holder
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := range a.Channels {
		c := &Channel{Name: a.Channels[i].Name, Runs: []status.Run{}}
		o.Channels = append(o.Channels, c)
		group.Go(func() error {
			if err := c.lookAtRuns(a, &a.Channels[i], o.Agent != nil); err != nil {
				return err
			}
			c.lookAtHead(ctx, a)
			switch {
			case a.Channels[i].RPC == "":
				c.Node = NodeHealth{State: "unknown", Detail: "no rpc is configured"}
			case ask == nil:
				c.Node = NodeHealth{State: "unknown", Detail: "it was not asked"}
			default:
				within, cancel := context.WithTimeout(ctx, nodeTimeout)
				defer cancel()
				health, err := ask(within, a, &a.Channels[i])
				if err != nil && within.Err() != nil {
					err = fmt.Errorf("the node has not answered within %s", nodeTimeout)
				}
				c.setNode(health, err)
			}
			c.OK = len(c.Problems) == 0
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := errors.Join(o.lookAtMirrors(a), o.lookAtLocations(a)); err != nil {
		return nil, err
	}
	o.lookAtAlarms(a)
	o.lookAtScrub(a)
	o.OK = len(o.Problems) == 0
	for _, c := range o.Channels {
		o.OK = o.OK && c.OK
	}
	return o, nil
}

// Quota is how much of what is watched was delivered this month.
type Quota struct {
	Name  string       `json:"name"`
	Month *quota.Month `json:"month,omitempty"` // nil before the first look
	Limit int64        `json:"limit_bytes,omitempty"`
	Then  string       `json:"then,omitempty"` // what is done at the limit
	Over  bool         `json:"over,omitempty"` // it is done
	quota.Attempt
}

// lookAtAlarms says what waits to be mailed, and what is known of quotas.
func (o *Overview) lookAtAlarms(a *config.Agent) {
	if a.Alarms == nil {
		return
	}
	outbox := alarm.In(a.State)
	s, err := outbox.Status()
	if err != nil {
		o.Problems = append(o.Problems, err.Error())
		return
	}
	o.Alarms = &s
	if s.Error != "" {
		o.Problems = append(o.Problems, fmt.Sprintf("%d mails wait since %s: %s", s.Waiting, s.Oldest.UTC().Format(time.DateTime), s.Error))
	}
	for i := range a.Quota {
		q := Quota{Name: a.Quota[i].Name(), Limit: int64(a.Quota[i].Limit), Then: a.Quota[i].Then}
		q.Month, err = (&quota.Meter{Name: q.Name}).On(outbox, clock())
		q.Over = q.Limit > 0 && q.Month.Reached(q.Limit)
		if err == nil {
			q.Attempt, err = quota.LastAttempt(outbox, q.Name)
		}
		if err == nil && q.Error != "" {
			err = errors.New(q.Error)
		}
		if err != nil {
			o.Problems = append(o.Problems, err.Error())
		}
		o.Quota = append(o.Quota, q)
	}
}

// lookAtMirrors says what is on record of them. They are not asked.
func (o *Overview) lookAtMirrors(a *config.Agent) error {
	for _, m := range newMirrors(a, nil, nil) {
		s, err := m.Status()
		if err != nil {
			return err
		}
		o.Mirrors = append(o.Mirrors, s)
		if s.Error != "" {
			o.Problems = append(o.Problems, s.Error)
		}
		for _, p := range s.Pins {
			if p.Error != "" {
				o.Problems = append(o.Problems, p.Error)
			}
		}
	}
	return nil
}

func disks(a *config.Agent) []Disk {
	var all []Disk
	add := func(path, holds string) {
		if free, total, err := room(path); err == nil {
			all = append(all, Disk{path, holds, free, total})
		}
	}
	add(a.State, "state")
	for _, c := range a.Channels {
		add(c.Database.Path, "database of "+c.Name)
	}
	for _, t := range a.Targets {
		if t.Dir != nil {
			add(t.Dir.Path, "target")
		}
	}
	return all
}

// room is that of the filesystem which the directory is on, or will be made on.
func room(dir string) (free, total int64, err error) {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("room in %s: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize, nil
}
