package main

import (
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
)

type planEvent struct {
	Event string `json:"event"`
	*fetcher.Plan
	Costs []cost `json:"costs,omitempty"`
}

func printPlan(out *term.Output, p *fetcher.Plan, costs []cost) {
	if out.JSON {
		out.Event(planEvent{"plan", p, costs})
		return
	}
	how := "into a new directory that then takes its place"
	if p.InPlace {
		how = "in place"
	}
	out.Say("restore %s %s to %s, %s", p.Channel, p.Version, p.Target, how)
	if p.Unsigned {
		out.Say("  unsigned  nobody vouches for this: neither who made it nor that it arrives unchanged is checked")
	}
	out.Say("  snapshot  %d files, %s", p.Files, term.Size(p.RawBytes))
	if p.LastBlock > 0 {
		out.Say("  block     %d is its last, as its source says", p.LastBlock)
	}
	out.Say("  held      %s need not be fetched", term.Size(p.HeldBytes))
	out.Say("  fetch     %s in %d requests", term.Size(p.FetchBytes), p.Requests)
	out.Say("  disk      %s needed, %s free", term.Size(p.RoomBytes), term.Size(p.FreeBytes))
	for _, s := range p.Sources {
		how := s.Layout
		if s.Last {
			how += ", only what no other has"
		}
		out.Say("  source    %s (%s)", s.Name, how)
	}
	for _, name := range p.LeftOut {
		out.Say("  left out  %s: its publisher asks to take no data from there at present", name)
	}
	for _, c := range costs {
		out.Say("  cost      %s: %s", c.Source, c)
		if c.price != nil {
			out.Say("            by the list prices of %s, %s; less or nothing inside Amazon's network", c.AsOf, c.List)
		}
	}
}

type doneEvent struct {
	Event        string   `json:"event"`
	Channel      string   `json:"channel"`
	Version      string   `json:"version"`
	Unsigned     bool     `json:"unsigned,omitempty"`
	Directory    string   `json:"directory"`
	OldDirectory string   `json:"old_directory,omitempty"`
	Files        int      `json:"files"`
	RawBytes     int64    `json:"raw_bytes"`
	FetchedBytes int64    `json:"fetched_bytes"`
	ReusedBytes  int64    `json:"reused_bytes"`
	Seconds      float64  `json:"seconds"`
	NodeFlags    []string `json:"node_flags,omitempty"`
}

// restored is what a fetch has restored.
type restored struct {
	channel, version, chain string
	database                manifest.Database
	files                   int
	rawSize                 int64 // bytes
}

func printDone(out *term.Output, r *fetcher.Result, s restored, target string) {
	flags := nodeFlags(s.chain, s.database, target)
	if out.JSON {
		out.Event(doneEvent{
			Event: "done", Channel: s.channel, Version: s.version, Unsigned: r.Unsigned != nil, Directory: target, OldDirectory: r.OldDirectory,
			Files: s.files, RawBytes: s.rawSize, FetchedBytes: r.FetchedBytes, ReusedBytes: r.ReusedBytes,
			Seconds: r.Duration.Seconds(), NodeFlags: flags,
		})
		return
	}
	out.Say("%s %s is in %s: %d files, %s; fetched %s, reused %s, in %s", s.channel, s.version, target,
		s.files, term.Size(s.rawSize), term.Size(r.FetchedBytes), term.Size(r.ReusedBytes), term.Span(r.Duration))
	if r.OldDirectory != "" {
		out.Say("the old directory is %s", r.OldDirectory)
	}
	if r.Unsigned != nil {
		out.Say("nobody vouches for it: neither who made it nor that it arrived unchanged was checked")
	}
	printStart(out, flags)
}
