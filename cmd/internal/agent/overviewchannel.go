package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/snapshot/chain"
)

// Channel is how a channel does.
type Channel struct {
	Name     string   `json:"name"`
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"`

	NextRun     time.Time    `json:"next_run,omitzero"` // zero if there is no schedule
	Runs        []status.Run `json:"runs"`              // newest first
	LastSuccess *status.Run  `json:"last_success,omitempty"`
	SuccessAge  int64        `json:"last_success_age_seconds,omitempty"`
	Height      int64        `json:"height,omitempty"` // of the last snapshot that this agent published
	Node        NodeHealth   `json:"node"`
	Head        *Head        `json:"head,omitempty"` // nil if there is none, or it cannot be read
	Locations   []Location   `json:"locations,omitempty"`
}

// NodeHealth is how a channel's node does.
type NodeHealth struct {
	State  string `json:"state"`                   // healthy, unhealthy or unknown
	Detail string `json:"detail,omitempty"`        // why so
	Height int64  `json:"height,omitempty"`        // of its last final block
	Still  int64  `json:"still_seconds,omitempty"` // for so long that is the same block
	Peers  int64  `json:"peers,omitempty"`

	reasons int // why it must not be published from
}

// Head is what those who fetch see of a channel.
type Head struct {
	Version    string    `json:"version"` // the newest
	Versions   int       `json:"versions"`
	Sequence   int64     `json:"sequence"`
	Expires    time.Time `json:"expires"`
	AgeSeconds int64     `json:"age_seconds"` // of the newest version
}

func (c *Channel) problem(format string, args ...any) {
	c.Problems = append(c.Problems, fmt.Sprintf(format, args...))
}

// overdue is how long after its time a run must have begun.
const overdue = 10 * time.Minute

func (c *Channel) lookAtRuns(a *config.Agent, conf *config.Channel, alive bool) error {
	runs, now := status.RunsIn(a.State), clock()
	last, err := runs.Last(c.Name, overviewRuns)
	if err != nil {
		return err
	}
	c.Runs = append(c.Runs, last...)
	success, ok, err := runs.LastPublished(c.Name)
	if err != nil {
		return err
	}
	if ok {
		c.LastSuccess, c.Height = &success, success.Height
		c.SuccessAge = int64(now.Sub(success.End).Seconds())
	}
	if len(last) > 0 {
		switch run := last[0]; run.Outcome {
		case status.Failed, status.Postponed, status.Interrupted:
			c.problem("the last run is %s: %s", run.Outcome, run.Error)
		}
	}
	if conf.Schedule == "" {
		return nil
	}
	if c.NextRun, err = nextRun(a, conf, runs, now); err != nil {
		return err
	}
	running := len(last) > 0 && last[0].Outcome == status.Running
	switch {
	case !alive:
		c.problem("the agent does not run")
	case !running && now.Sub(c.NextRun) > overdue+time.Duration(conf.Jitter):
		c.problem("the run of %s is overdue", c.NextRun.Format(time.DateTime))
	}
	return nil
}

// nextRun is when the next run of a channel with a schedule begins, or was to begin.
func nextRun(a *config.Agent, c *config.Channel, runs *status.Runs, now time.Time) (time.Time, error) {
	schedule, err := ParseSchedule(c.Schedule, a.TimeZone)
	if err != nil {
		return time.Time{}, err
	}
	s := &slots{schedule: schedule}
	if _, err := s.recall(runs, c.Name, now); err != nil {
		return time.Time{}, err
	}
	_, at := s.next(now)
	return at, nil
}

func (c *Channel) lookAtHead(ctx context.Context, a *config.Agent) {
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	p, err := NewPublisher(a, nil)
	if err != nil {
		c.problem("the head cannot be checked: %s", err)
		return
	}
	head, err := standingHead(ctx, p, c.Name)
	switch {
	case err != nil:
		c.problem("%s", err)
		return
	case head == nil:
		c.problem("nothing is published yet")
		return
	}
	now := clock()
	c.Head = &Head{
		Version: head.Snapshots[0].Version, Versions: len(head.Snapshots), Sequence: head.Sequence, Expires: head.Expires,
	}
	if cut, err := time.Parse(manifest.VersionFormat, c.Head.Version); err == nil {
		c.Head.AgeSeconds = int64(now.Sub(cut).Seconds())
	}
	switch left := head.Expires.Sub(now); {
	case left <= 0:
		c.problem("the head has expired %s ago: nobody accepts it", (-left).Round(time.Second))
	case left < renewalInterval(a):
		c.problem("the head expires in %s and is not renewed", left.Round(time.Second))
	}
}

func (c *Channel) setNode(health chain.Health, err error) {
	c.Node.Height, c.Node.Peers, c.Node.Still = health.Block.Number, health.Peers, int64(health.Still.Seconds())
	if err != nil {
		c.Node.reasons = 1
		if e, ok := errors.AsType[*chain.PreflightError](err); ok {
			c.Node.reasons = len(e.Wrong) + len(e.Unhealthy)
		}
		c.Node.State, c.Node.Detail = "unhealthy", err.Error()
		c.problem("%s", err)
		return
	}
	c.Node.State, c.Node.Detail = "healthy", health.Node.Implementation+" "+health.Node.Version
}
