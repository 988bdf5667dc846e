package main

import (
	"time"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/snapshot"
)

type planEvent struct {
	Event    string   `json:"event"`
	Channel  string   `json:"channel"`
	Database string   `json:"database"`
	Kind     string   `json:"kind"`
	Node     string   `json:"node"`
	Fork     string   `json:"fork"`
	Previous string   `json:"previous,omitempty"`
	Targets  []string `json:"targets"`
}

func (j *publication) printPlan(run *publish.Run, node snapshot.Node, forker snapshot.Forker) {
	c := j.channel
	e := planEvent{
		Event: "plan", Channel: c.Name, Database: c.Database.Path, Kind: c.Database.Kind,
		Node: node.String(), Fork: forker.String(),
	}
	if m, _ := run.Previous(); m != nil {
		e.Previous = m.Version
	}
	for _, t := range j.publisher.Targets {
		e.Targets = append(e.Targets, t.String())
	}
	if j.out.JSON {
		j.out.Event(e)
		return
	}
	j.out.Say("publish %s from %s", c.Name, c.Database.Path)
	for _, t := range e.Targets {
		j.out.Say("  target    %s", t)
	}
	if e.Previous != "" {
		j.out.Say("  previous  %s", e.Previous)
	}
}

type doneEvent struct {
	Event         string  `json:"event"`
	Channel       string  `json:"channel"`
	Version       string  `json:"version"`
	Sequence      int64   `json:"sequence"`
	Files         int     `json:"files"`
	RawBytes      int64   `json:"raw_bytes"`
	ReadBytes     int64   `json:"read_bytes"`
	UploadedBytes int64   `json:"uploaded_bytes"`
	ReusedBytes   int64   `json:"reused_bytes"` // stored bytes that were on the targets already
	Fork          string  `json:"fork"`
	PauseSeconds  float64 `json:"pause_seconds"`
	Seconds       float64 `json:"seconds"`
}

func (j *publication) done(taken *snapshot.Result, r publish.Receipt) *doneEvent {
	return &doneEvent{
		Event: "done", Channel: j.channel.Name, Version: r.Version, Sequence: r.Sequence, Files: len(taken.Index.Files),
		RawBytes: taken.RawBytes, ReadBytes: taken.ReadBytes, UploadedBytes: r.UploadedBytes, ReusedBytes: r.ReusedBytes,
		Fork: taken.Fork, PauseSeconds: taken.Pause.Seconds(), Seconds: time.Since(j.start).Seconds(),
	}
}

func printDone(out *term.Output, d *doneEvent) {
	if out.JSON {
		out.Event(d)
		return
	}
	out.Say("published %s %s: %d files, %s; read %s, uploaded %s, reused %s; paused %.1f ms, took %.1f s",
		d.Channel, d.Version, d.Files, term.Size(d.RawBytes), term.Size(d.ReadBytes),
		term.Size(d.UploadedBytes), term.Size(d.ReusedBytes), 1000*d.PauseSeconds, d.Seconds)
}
