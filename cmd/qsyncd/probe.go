package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/status"
)

func probeCommand() *cobra.Command {
	var configFile string
	cmd := &cobra.Command{
		Use:   "probe -c FILE [CHANNEL]",
		Short: "Read what is published at each location, as those who fetch do",
		Long: `Read each channel, or one, at each location now, as those who fetch read it: the head
and the catalog, with their signatures, the manifest, the index, and a sample of the
snapshot, every chunk of it checked. The speed is that of one connection. What comes over
the wire is delivered like any other download, and may cost money.

A location that cannot be read, that serves an old head, or wrong data, is down: then the
command fails. The agent does the same all the time; qsyncd status says what it has seen.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeChannels,
		RunE: func(cmd *cobra.Command, args []string) error {
			return probeNow(cmd.Context(), term.NewOutput(cmd), configFile, args)
		},
	}
	addConfigFlag(cmd, &configFile)
	return cmd
}

type probedEvent struct {
	Event string `json:"event"`
	OK    bool   `json:"ok"`
	status.Probe
}

func probeNow(ctx context.Context, out *term.Output, configFile string, channels []string) error {
	cfg, err := config.LoadAgent(configFile)
	if err != nil {
		return err
	}
	for _, c := range channels {
		if _, err := configured(cfg, configFile, c); err != nil {
			return err
		}
	}
	if len(channels) == 0 {
		channels = cfg.ChannelNames()
	}
	seen, err := agent.ProbeNow(ctx, cfg, channels)
	if err != nil {
		return err
	}
	down := 0
	for _, p := range seen {
		if !p.OK() {
			down++
		}
		if out.JSON {
			out.Event(probedEvent{"probed", p.OK(), p})
		}
	}
	if !out.JSON {
		printProbes(out, seen, time.Now())
	}
	if down > 0 {
		return fmt.Errorf("%d of %d are down", down, len(seen))
	}
	return nil
}

// printProbes prints a table, and below the line of a location why it is down.
func printProbes(out *term.Output, seen []status.Probe, now time.Time) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHANNEL\tLOCATION\tSTATE\tVERSION\tAGE\tHEAD\tSPEED")
	for _, p := range seen {
		state := "up"
		if !p.OK() {
			state = "down"
		}
		head, speed := "-", "-"
		if p.HeadSeconds > 0 {
			head = fmt.Sprintf("%.0f ms", 1000*p.HeadSeconds)
		}
		if p.BytesPerSecond > 0 {
			speed = fmt.Sprintf("%.1f MB/s", p.BytesPerSecond/1e6)
		}
		fmt.Fprintln(w, strings.Join([]string{p.Channel, p.Location, state, cmp.Or(p.Version, "-"), ageOf(p.Version, now), head, speed}, "\t"))
	}
	_ = w.Flush() // to memory
	next := 0
	for line := range strings.Lines(table.String()) {
		out.Result("%s", strings.TrimRight(line, " \n"))
		if next > 0 && !seen[next-1].OK() {
			out.Result("  %s", seen[next-1].Error)
		}
		next++
	}
}

// ageOf is how old a version is.
func ageOf(version string, now time.Time) string {
	cut, err := time.Parse(manifest.VersionFormat, version)
	if err != nil {
		return "-"
	}
	return term.Span(now.Sub(cut))
}
