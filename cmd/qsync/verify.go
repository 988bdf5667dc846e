package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
)

type verifyOptions struct {
	publisherOptions
	rpcOptions
	directory string
	name      string
	version   string
}

func verifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify DIR CHAIN|CHANNEL",
		Short: "Compare a restored directory with its snapshot",
		Long: `Hash every file of a restored directory and name what differs from the snapshot:
files that are missing, not listed or have other content. It only reads. A
directory that a node has written to since differs.`,
		Example: "  qsync verify ~/.local/share/polkadot/chains/polkadot/db polkadot",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.directory, o.name = args[0], args[1]
			return verify(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	o.publisherOptions.addFlags(cmd)
	o.rpcOptions.addFlags(cmd)
	cmd.Flags().StringVar(&o.version, "version", "", "`VERSION` to compare with, YYYYMMDD-HHMMSS (default: the newest)")
	return cmd
}

type differenceEvent struct {
	Event      string         `json:"event"`
	Difference string         `json:"difference"` // missing, unlisted or wrong
	Path       string         `json:"path"`
	Wrong      *fetcher.Wrong `json:"wrong,omitempty"`
}

type verifiedEvent struct {
	Event    string  `json:"event"`
	Channel  string  `json:"channel"`
	Version  string  `json:"version"`
	Files    int     `json:"files"`
	RawBytes int64   `json:"raw_bytes"`
	Seconds  float64 `json:"seconds"`
}

func verify(ctx context.Context, out *term.Output, o verifyOptions) error {
	return o.asking(out, func(_ *money, publishers []publisher) error {
		return verifyWith(ctx, out, o, publishers)
	})
}

func verifyWith(ctx context.Context, out *term.Output, o verifyOptions, publishers []publisher) error {
	start := time.Now()
	c, err := findChannel(ctx, out, publishers, o.name)
	if err != nil {
		return err
	}
	c.sayOthers(out)
	nodes, err := o.nodes(c.publisher.checkRPC, protocolOf(c.chain))
	if err != nil {
		return err
	}
	display := out.NewDisplay()
	defer display.Close()
	report, err := fetcher.Verify(ctx, fetcher.VerifyOptions{
		Repository: c.publisher.repository, Channel: c.name, Version: o.version, Directory: o.directory, Check: manifestCheck(out, nodes),
		Progress: func(checked, total int64) {
			display.Show(term.Progress{Phase: string(fetcher.PhaseVerifying), Done: checked, Total: total})
		},
	})
	if err != nil {
		return err
	}
	display.Close()
	m := report.Manifest
	if !report.Same() {
		printDifferences(out, report)
		n := len(report.Missing) + len(report.Unlisted) + len(report.Wrong)
		return term.WithHint(fmt.Errorf("%s differs from %s %s in %d of its files", o.directory, c.name, m.Version, n),
			"qsync fetch repairs it and fetches only what differs")
	}
	if out.JSON {
		out.Event(verifiedEvent{"done", c.name, m.Version, m.Files, m.RawSize, time.Since(start).Seconds()})
	} else {
		out.Say("%s is %s %s: %d files, %s", o.directory, c.name, m.Version, m.Files, term.Size(m.RawSize))
	}
	return nil
}

func printDifferences(out *term.Output, r *fetcher.Report) {
	name := func(difference, path, detail string, wrong *fetcher.Wrong) {
		if out.JSON {
			out.Event(differenceEvent{"difference", difference, path, wrong})
		} else {
			out.Result("%-8s %s%s", difference, path, detail)
		}
	}
	for _, p := range r.Missing {
		name("missing", p, "", nil)
	}
	for _, p := range r.Unlisted {
		name("unlisted", p, "", nil)
	}
	for _, w := range r.Wrong {
		detail := fmt.Sprintf(": %d chunks", len(w.Chunks))
		if w.Size != w.WantSize {
			detail = fmt.Sprintf(": %d bytes, want %d", w.Size, w.WantSize)
		}
		name("wrong", w.Path, detail, &w)
	}
}
