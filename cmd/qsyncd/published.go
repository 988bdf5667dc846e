package main

import (
	"fmt"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/term"
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

func printPlan(out *term.Output, p agent.Plan) {
	if out.JSON {
		out.Event(planEvent{"plan", p.Channel, p.Database, p.Kind, p.Node, p.Fork, p.Previous, p.Targets})
		return
	}
	out.Say("publish %s from %s", p.Channel, p.Database)
	for _, t := range p.Targets {
		out.Say("  target    %s", t)
	}
	if p.Previous != "" {
		out.Say("  previous  %s", p.Previous)
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
	FilesBytes    int64   `json:"files_bytes,omitempty"` // sent to targets with layout files
	ReusedBytes   int64   `json:"reused_bytes"`          // stored bytes that were on the targets already
	Fork          string  `json:"fork"`
	PauseSeconds  float64 `json:"pause_seconds"`
	Seconds       float64 `json:"seconds"`
	Height        int64   `json:"height,omitempty"` // of the last block that is in it for certain
}

func printDone(out *term.Output, d *agent.Published) {
	height, block := int64(0), ""
	if d.Block != nil {
		height, block = d.Block.Number, fmt.Sprintf(", block %d", d.Block.Number)
	}
	if out.JSON {
		out.Event(doneEvent{
			Event: "done", Channel: d.Channel, Version: d.Version, Sequence: d.Sequence, Files: d.Files,
			RawBytes: d.RawBytes, ReadBytes: d.ReadBytes, UploadedBytes: d.UploadedBytes, FilesBytes: d.FilesBytes, ReusedBytes: d.ReusedBytes,
			Fork: d.Fork, PauseSeconds: d.Pause.Seconds(), Seconds: d.Took.Seconds(), Height: height,
		})
		return
	}
	files := ""
	if d.FilesBytes > 0 {
		files = fmt.Sprintf(" and %s of files", term.Size(d.FilesBytes))
	}
	out.Say("published %s %s: %d files, %s%s; read %s, uploaded %s%s, reused %s; paused %.1f ms, took %.1f s",
		d.Channel, d.Version, d.Files, term.Size(d.RawBytes), block, term.Size(d.ReadBytes),
		term.Size(d.UploadedBytes), files, term.Size(d.ReusedBytes), 1000*d.Pause.Seconds(), d.Took.Seconds())
}
