package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
)

type doctorOptions struct {
	configFile string
	channel    string // empty means all that are configured
	asAgent    bool
}

func doctorCommand() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor -c FILE [CHANNEL]",
		Short: "Check that this machine can do what the configuration says",
		Long: `Check that this machine can do what the configuration says, of one channel or of
all. Nothing is published and the node is not touched: a few bytes are written to each
target and deleted, a CloudFront distribution forgets its catalog, and files of its own
are forked beside the database.

Each line says ok, warn or fail, and below it what to do. Any fail makes it an error.
Root checks with the rights that the agent has: those of the owner of the state
directory, and the capabilities of the unit in scripts/systemd.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeChannels,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.channel = args[0]
			}
			return runDoctor(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	addConfigFlag(cmd, &o.configFile)
	cmd.Flags().BoolVar(&o.asAgent, asAgentFlag, false, "check with the rights of this process")
	term.Must(cmd.Flags().MarkHidden(asAgentFlag))
	return cmd
}

// level is how good a finding is.
type level string

const (
	fine    level = "ok"
	warning level = "warn"
	failure level = "fail"
)

// finding is the result of a check.
type finding struct {
	Event  string `json:"event"`
	Level  level  `json:"level"`
	What   string `json:"what"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"` // what to do
}

type diagnosis struct {
	Event    string `json:"event"`
	OK       int    `json:"ok"`
	Warnings int    `json:"warnings"`
	Failures int    `json:"failures"`
}

// doctor reports what it finds.
type doctor struct {
	out   *term.Output
	count map[level]int
}

func (d *doctor) report(f finding) {
	f.Event = "check"
	d.count[f.Level]++
	if d.out.JSON {
		d.out.Event(f)
		return
	}
	d.out.Result("%-4s  %s — %s", f.Level, f.What, f.Detail)
	if f.Advice != "" {
		d.out.Result("      do: %s", f.Advice)
	}
}

func (d *doctor) ok(what, format string, args ...any) {
	d.report(finding{Level: fine, What: what, Detail: fmt.Sprintf(format, args...)})
}

func (d *doctor) warn(what, advice, format string, args ...any) {
	d.report(finding{Level: warning, What: what, Detail: fmt.Sprintf(format, args...), Advice: advice})
}

func (d *doctor) fail(what, advice, format string, args ...any) {
	d.report(finding{Level: failure, What: what, Detail: fmt.Sprintf(format, args...), Advice: advice})
}

// failed reports an error. What it advises itself goes before advice, and that
// before what its class suggests.
func (d *doctor) failed(what string, err error, advice string) {
	if own := (interface{ Hint() string })(nil); advice == "" || errors.As(err, &own) {
		advice = term.Hint(err)
	}
	if term.ExitCode(err) == term.ExitNoSpace {
		advice = "make room"
	}
	d.fail(what, advice, "%s", err)
}

func runDoctor(ctx context.Context, out *term.Output, o doctorOptions) error {
	d := &doctor{out: out, count: map[level]int{}}
	if err := d.examine(ctx, o); err != nil {
		return err
	}
	if o.asAgent {
		return nil // who started it draws the conclusion
	}
	if out.JSON {
		out.Event(diagnosis{"done", d.count[fine], d.count[warning], d.count[failure]})
	}
	if n := d.count[failure]; n > 0 {
		return term.WithHint(fmt.Errorf("%d of %d checks failed", n, n+d.count[warning]+d.count[fine]), "each says what to do")
	}
	return nil
}

func (d *doctor) examine(ctx context.Context, o doctorOptions) error {
	cfg, err := config.LoadAgent(o.configFile)
	if err != nil {
		d.failed("configuration", err, "")
		return nil
	}
	if o.channel != "" {
		if _, err := configured(cfg, o.configFile, o.channel); err != nil {
			return err
		}
		cfg.Channels = slices.DeleteFunc(cfg.Channels, func(c config.Channel) bool { return c.Name != o.channel })
	}
	if !o.asAgent {
		asked, err := d.askAgent(ctx, cfg.State, o)
		if asked || err != nil {
			return err
		}
	}
	d.ok("configuration", "%s, %d channels", o.configFile, len(cfg.Channels))
	d.checkMachine(ctx, cfg)
	d.checkState(cfg.State)
	d.checkKey(cfg)
	d.checkTargets(ctx, cfg)
	d.checkIPFS(ctx, cfg)
	d.checkAlarms(ctx, cfg)
	d.checkListen(ctx, cfg)
	d.checkGuard(ctx)
	for i := range cfg.Channels {
		d.checkChannel(ctx, cfg, &cfg.Channels[i])
	}
	return ctx.Err()
}
