package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/ipfs/mirror"
	"github.com/qsync/qsync/publish/quota"
	"github.com/qsync/qsync/publish/status"
)

func statusCommand() *cobra.Command {
	var configFile string
	cmd := &cobra.Command{
		Use:   "status -c FILE",
		Short: "Show how the agent, its channels and their nodes do",
		Long: `Show whether the agent runs, and of each channel the next run, the last ones, the
node's health, what those who fetch see, each location, and what is wrong; how far the
scrub is, what was delivered, which mails wait; and the room on the disks. That
something is wrong is no error of this command: with --json each channel says whether
it is ok.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showStatus(cmd.Context(), term.NewOutput(cmd), configFile)
		},
	}
	addConfigFlag(cmd, &configFile)
	return cmd
}

type statusEvent struct {
	Event string `json:"event"`
	*agent.Overview
}

func showStatus(ctx context.Context, out *term.Output, configFile string) error {
	cfg, err := config.LoadAgent(configFile)
	if err != nil {
		return err
	}
	overview, err := agent.Look(ctx, cfg, agent.AskNode)
	if err != nil {
		return err
	}
	if out.JSON {
		out.Event(statusEvent{"status", overview})
		return nil
	}
	printOverview(out, overview)
	return nil
}

func printOverview(out *term.Output, o *agent.Overview) {
	if h := o.Agent; h != nil {
		out.Result("agent      running since %s (process %d)", moment(h.Since), h.Process)
	} else {
		out.Result("agent      not running")
	}
	for _, p := range o.Problems {
		out.Result("  problem  %s", p)
	}
	for _, c := range o.Channels {
		out.Result("")
		printChannel(out, c)
	}
	for _, m := range o.Mirrors {
		out.Result("")
		out.Result("mirror     %s", m.Mirror)
		for _, p := range m.Pins {
			out.Result("  %-8s %s", p.State, describePin(p))
		}
	}
	printScrub(out, o.Scrub)
	printAlarms(out, o)
	out.Result("")
	for _, d := range o.Disks {
		out.Result("disk       %s free of %s: %s (%s)", term.Size(d.Free), term.Size(d.Total), d.Path, d.Holds)
	}
}

func printAlarms(out *term.Output, o *agent.Overview) {
	if o.Alarms == nil {
		return
	}
	out.Result("")
	out.Result("alarms     %s", describeOutbox(o.Alarms))
	for _, a := range o.Alarms.Active {
		out.Result("  since    %s: %s: %s", moment(a.Since), a.Subject, a.Text)
	}
	for _, q := range o.Quota {
		out.Result("  quota    %s: %s", q.Name, describeQuota(q))
	}
}

func describeOutbox(s *alarm.Status) string {
	switch {
	case s.Waiting == 0 && s.Tried.IsZero():
		return "no mail has been sent yet"
	case s.Waiting == 0:
		return "no mail waits; the last one was accepted at " + moment(s.Tried)
	case s.Failures == 0:
		return fmt.Sprintf("%d mails wait", s.Waiting)
	}
	return fmt.Sprintf("%d mails wait since %s; not accepted %d times, the last time at %s", s.Waiting, moment(s.Oldest), s.Failures, moment(s.Tried))
}

func describeQuota(q agent.Quota) string {
	if q.Month == nil {
		return "it was not looked at this month"
	}
	text := fmt.Sprintf("%s in %s, about %s at its end", quota.Size(q.Month.Bytes), q.Month.Start.Format("January 2006"), quota.Size(q.Month.Project))
	if q.Month.EndUSD > 0 {
		text += fmt.Sprintf(" for about $%.0f", q.Month.EndUSD)
	}
	text += "; looked at " + moment(q.Month.Looked)
	if q.Over {
		text += fmt.Sprintf("; over its limit of %s: until the month ends %s", quota.Size(q.Limit), q.Asked())
	}
	return text
}

func printChannel(out *term.Output, c *agent.Channel) {
	verdict := "ok"
	if !c.OK {
		verdict = "needs attention"
	}
	out.Result("channel    %s: %s", c.Name, verdict)
	for _, p := range c.Problems {
		out.Result("  problem  %s", p)
	}
	next := "by hand only"
	if !c.NextRun.IsZero() {
		next = moment(c.NextRun)
	}
	out.Result("  next     %s", next)
	out.Result("  node     %s", describeNode(c.Node))
	if h := c.Head; h != nil {
		out.Result("  head     %s, %s old; versions %d, sequence %d, expires %s",
			h.Version, term.Span(seconds(h.AgeSeconds)), h.Versions, h.Sequence, moment(h.Expires))
	}
	for _, l := range c.Locations {
		out.Result("  location %s", describeLocation(l))
	}
	for _, r := range c.Runs {
		out.Result("  run      %s", describeRun(r))
	}
}

func describeNode(n agent.NodeHealth) string {
	text := n.State
	if n.Detail != "" {
		text += ": " + n.Detail
	}
	if n.Height > 0 {
		text += fmt.Sprintf(", final block %d", n.Height)
	}
	return text
}

func describeRun(r status.Run) string {
	text := fmt.Sprintf("%d  %s  %-8s  %-11s", r.ID, moment(r.Start), r.Trigger, r.Outcome)
	if took := r.Took(); took > 0 {
		text += "  took " + term.Span(took)
	}
	if r.Version != "" {
		text += fmt.Sprintf("  %s  %s, uploaded %s, paused %.1f ms", r.Version, term.Size(r.RawBytes), term.Size(r.UploadedBytes), 1000*r.PauseSeconds)
	}
	if r.Height > 0 {
		text += fmt.Sprintf("  block %d", r.Height)
	}
	if r.Error != "" {
		text += "  " + r.Error
	}
	return text
}

func describeLocation(l agent.Location) string {
	if !l.OK {
		return fmt.Sprintf("%s: down since %s", l.Location, moment(l.Since))
	}
	return fmt.Sprintf("%s: up since %s, %s", l.Location, moment(l.Since), l.Version)
}

func describePin(p mirror.Pin) string {
	text := fmt.Sprintf("%s %s (%s) since %s: %s", p.Channel, p.Version, p.Tree, moment(p.Since), p.CID)
	if p.Left > 0 {
		text += ", " + term.Size(p.Left) + " left"
	}
	return text
}

func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
