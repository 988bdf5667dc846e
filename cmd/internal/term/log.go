package term

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
)

// logLines prints the warnings of the library in the voice of the program.
type logLines struct {
	out   *Output
	attrs []slog.Attr
}

// Enabled implements [slog.Handler].
func (*logLines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements [slog.Handler].
func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(l.out.program + ": ")
	if r.Level >= slog.LevelWarn {
		b.WriteString(strings.ToLower(r.Level.String()) + ": ")
	}
	b.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		text := a.Value.String()
		if strings.ContainsAny(text, " \"\n") || text == "" {
			text = strconv.Quote(text)
		}
		fmt.Fprintf(&b, " %s=%s", a.Key, text)
		return true
	}
	for _, a := range l.attrs {
		add(a)
	}
	r.Attrs(add)
	l.out.Say("%s", b.String())
	return nil
}

// WithAttrs implements [slog.Handler].
func (l *logLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logLines{l.out, append(slices.Clip(l.attrs), attrs...)}
}

// WithGroup implements [slog.Handler]. Groups are not shown.
func (l *logLines) WithGroup(string) slog.Handler { return l }
