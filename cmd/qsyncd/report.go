package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish/status"
)

// monthFormat is how a month is written.
const monthFormat = "2006-01"

type reportOptions struct {
	configFile string
	month      string // empty is the present one
	html       bool
	markdown   bool // which it is as well without any of the forms
}

func reportCommand() *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report -c FILE [--month YYYY-MM] [--html|--markdown|--json]",
		Short: "Tell how the service did in a month",
		Long: `Tell how the service did in a month of UTC: the uptime of each channel at each
location against the objective of 99 %, as the probes of the agent have seen it;
incidents with their causes; what was delivered, and about what it cost; runs, what
they have uploaded, and how long nodes stood still; new versions of the agent and of
nodes, and new configurations.

It is told on standard output: as Markdown, which reads well as it is, as one page of
HTML, or as JSON. It holds what servers say and how machines are called: it is for
those who run the service. What everybody may know is on the status page.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return report(cmd.OutOrStdout(), term.NewOutput(cmd), o)
		},
	}
	addConfigFlag(cmd, &o.configFile)
	cmd.Flags().StringVar(&o.month, "month", "", "`MONTH`, like 2026-11; the present one without it")
	cmd.Flags().BoolVar(&o.html, "html", false, "print a page of HTML")
	cmd.Flags().BoolVar(&o.markdown, "markdown", false, "print Markdown, as without it")
	cmd.MarkFlagsMutuallyExclusive("html", "markdown")
	return cmd
}

type reportEvent struct {
	Event string `json:"event"`
	*status.Report
}

func report(w io.Writer, out *term.Output, o reportOptions) error {
	now := time.Now().UTC()
	from := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	if o.month != "" {
		var err error
		if from, err = time.Parse(monthFormat, o.month); err != nil {
			return term.Usagef("month %q: want one like %s", o.month, now.Format(monthFormat))
		}
	}
	switch {
	case from.After(now):
		return term.Usagef("month %s has not begun yet", o.month)
	case out.JSON && (o.html || o.markdown):
		return term.Usagef("more than one of --html, --markdown and --json: want one of them")
	}
	cfg, err := config.LoadAgent(o.configFile)
	if err != nil {
		return err
	}
	r, err := agent.NewReport(cfg, from, now)
	if err != nil {
		return err
	}
	if out.JSON {
		out.Event(reportEvent{"report", r})
		return nil
	}
	body := r.Markdown()
	if o.html {
		if body, err = r.HTML(); err != nil {
			return err
		}
	}
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	return nil
}
