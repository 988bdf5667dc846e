package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish/status"
)

type scrubOptions struct {
	configFile string
	channel    string // empty means all that are configured
	rate       string // bytes a second; empty means the configured one
}

func scrubCommand() *cobra.Command {
	var o scrubOptions
	cmd := &cobra.Command{
		Use:   "scrub -c FILE [CHANNEL]",
		Short: "Look whether what is published is still whole",
		Long: `Read everything that the heads of one channel, or of all, name on each target, and
compare it with what its name says. What is broken is replaced from a target that
has it whole. What no target has whole is listed, and the command fails; the next
run stores anew what the database still has of it.

The agent does the same all the time, slowly: see scrub: in the configuration, also
for what reading from a bucket costs. Nothing has to be stopped for it. A pass that was
interrupted goes on where it was, if that was less than a day ago.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeChannels,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.channel = args[0]
			}
			return scrub(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	addConfigFlag(cmd, &o.configFile)
	cmd.Flags().StringVar(&o.rate, "rate", "", "`BYTES` to read in a second at most, like 20MB; 0 is any number (default: scrub.rate)")
	return cmd
}

type damageEvent struct {
	Event string `json:"event"` // broken or mended
	status.Damage
}

type scrubbedEvent struct {
	Event     string  `json:"event"`
	ReadBytes int64   `json:"read_bytes"`
	Broken    int     `json:"broken"`
	Mended    int     `json:"mended"`
	Seconds   float64 `json:"seconds"`
}

func scrub(ctx context.Context, out *term.Output, o scrubOptions) error {
	start := time.Now()
	cfg, err := config.LoadAgent(o.configFile)
	if err != nil {
		return err
	}
	if o.channel != "" {
		if _, err := configured(cfg, o.configFile, o.channel); err != nil {
			return err
		}
	}
	rate, err := parseRate(o.rate, int64(cfg.Scrub.Rate))
	if err != nil {
		return err
	}
	pass, err := agent.NewScrub(cfg, o.channel, rate, out.Log())
	if err != nil {
		return err
	}
	record := status.ScrubsIn(cfg.State)
	display := out.NewDisplay()
	defer display.Close()
	pass.Progress = func(read, total int64) {
		display.Show(term.Progress{Phase: "scrubbing", Done: read, Total: total})
	}
	_, err = pass.Round(ctx)
	display.Close()
	done := scrubbedEvent{Event: "done", Seconds: time.Since(start).Seconds()}
	all, damageErr := record.Damage()
	if damageErr != nil {
		return damageErr
	}
	p, passErr := record.Pass(pass.Name)
	if passErr != nil {
		return passErr
	}
	done.ReadBytes = p.Read
	for _, d := range all {
		switch {
		case d.Mended.IsZero() && concerns(d, o.channel):
			done.Broken++
			printDamage(out, "broken", d)
		case d.Mended.After(start):
			done.Mended++
			printDamage(out, "mended", d)
		}
	}
	if err != nil {
		return err
	}
	if out.JSON {
		out.Event(done)
	} else {
		out.Say("read %s: %d objects are broken, %d were mended", term.Size(done.ReadBytes), done.Broken, done.Mended)
	}
	if done.Broken > 0 {
		return term.WithHint(fmt.Errorf("%d published objects are broken, and no target has them whole", done.Broken),
			"publish: what the database still has is stored anew; or drop the versions that need them, see keep")
	}
	return nil
}

// concerns reports whether damage hits a channel; the empty one is any.
func concerns(d status.Damage, channel string) bool {
	if channel == "" || len(d.Versions) == 0 {
		return true
	}
	for _, v := range d.Versions {
		if name, _, _ := strings.Cut(v, " "); name == channel {
			return true
		}
	}
	return false
}

func parseRate(text string, configured int64) (int64, error) {
	if text == "" {
		return configured, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<62 {
		return 0, term.Usagef("--rate %s: want bytes a second like 20MB, or 0", text)
	}
	return int64(n), nil
}

func printDamage(out *term.Output, what string, d status.Damage) {
	if out.JSON {
		out.Event(damageEvent{what, d})
		return
	}
	out.Result("%s: %s", what, describeDamage(d))
}

func describeDamage(d status.Damage) string {
	text := fmt.Sprintf("%s on %s: %s", d.Key, d.Target, d.Wrong)
	if len(d.Versions) > 0 {
		text += "; needed by " + strings.Join(d.Versions, ", ")
	}
	return text
}

// printScrub says how far the agent's pass is, and what is broken.
func printScrub(out *term.Output, s *agent.Scrub) {
	if s == nil {
		return
	}
	out.Result("")
	out.Result("scrub      %s", describePass(s))
	for _, d := range s.Damage {
		if d.Mended.IsZero() {
			out.Result("  broken   since %s: %s", moment(d.Since), describeDamage(d))
		} else {
			out.Result("  mended   at %s: %s", moment(d.Mended), describeDamage(d))
		}
	}
}

func describePass(s *agent.Scrub) string {
	text, p := "the agent has not scrubbed yet", s.Pass
	switch {
	case p.Start.IsZero():
	case !p.End.IsZero():
		text = fmt.Sprintf("read %s from %s to %s", term.Size(p.Read), moment(p.Start), moment(p.End))
	default:
		text = fmt.Sprintf("read %s of %s since %s", term.Size(p.Read), term.Size(p.Total), moment(p.Start))
	}
	if s.Off {
		text += "; it is off now"
	}
	if s.Broken == 0 {
		return text + "; nothing is broken"
	}
	return fmt.Sprintf("%s; broken %d", text, s.Broken)
}
