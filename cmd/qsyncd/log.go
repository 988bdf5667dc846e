package main

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"time"

	"github.com/qsync/qsync/cmd/internal/term"
)

// newLog is the log of a daemon. scripts/monitoring/LOGS.md lists what stands there.
func newLog(w io.Writer, format string) (*slog.Logger, error) {
	switch format {
	case logText:
		return slog.New(&onceEach{Handler: slog.NewTextHandler(w, nil)}), nil
	case logJSON:
		return slog.New(&onceEach{Handler: slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: plainValue})}), nil
	}
	return nil, term.Usagef("log format %q: want text or json", format)
}

// The formats.
const (
	logText = "text"
	logJSON = "json"
)

// plainValue makes of a value what machines compare: of a time span its seconds, and of
// what has a text, and no JSON of its own, that text.
func plainValue(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
		return a
	}
	switch v := a.Value.Any().(type) {
	case json.Marshaler, encoding.TextMarshaler, error:
	case time.Duration:
		a.Value = slog.Float64Value(v.Seconds())
	case fmt.Stringer:
		a.Value = slog.StringValue(v.String())
	}
	return a
}

// onceEach leaves out of a line what its logger says already, as the channel: a library
// that says it too does not know who logs for it, and a key that is there twice is
// something else to every reader of JSON.
type onceEach struct {
	slog.Handler
	said map[string]bool // by the logger
}

// WithAttrs implements [slog.Handler].
func (h *onceEach) WithAttrs(attrs []slog.Attr) slog.Handler {
	said := maps.Clone(h.said)
	if said == nil {
		said = map[string]bool{}
	}
	var fresh []slog.Attr
	for _, a := range attrs {
		if !said[a.Key] {
			fresh = append(fresh, a)
		}
		said[a.Key] = true
	}
	return &onceEach{h.Handler.WithAttrs(fresh), said}
}

// Handle implements [slog.Handler].
func (h *onceEach) Handle(ctx context.Context, r slog.Record) error {
	if len(h.said) == 0 {
		return h.Handler.Handle(ctx, r)
	}
	line := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if !h.said[a.Key] {
			line.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, line)
}
