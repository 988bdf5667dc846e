package ipfs

import (
	"context"
	"log/slog"
	"slices"

	golog "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/gologshim"
	"go.uber.org/zap/zapcore"
)

// LogLibraries lets what IPFS's libraries log as errors go to a log, as warnings: that
// they have failed at something is for the node to judge. They have one log for all of
// the process, so it is the program's to say, before it starts a node. Without it they
// write to standard error in forms of their own.
func LogLibraries(log *slog.Logger) {
	gologshim.SetDefaultHandler(libraryHandler{log.Handler()})
	golog.SetPrimaryCore(libraryCore{log: log})
}

// libraryHandler is the log of go-libp2p.
type libraryHandler struct{ slog.Handler }

func (libraryHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

func (h libraryHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelWarn
	return h.Handler.Handle(ctx, r)
}

func (h libraryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return libraryHandler{h.Handler.WithAttrs(attrs)}
}

func (h libraryHandler) WithGroup(name string) slog.Handler {
	return libraryHandler{h.Handler.WithGroup(name)}
}

// libraryCore is the log of the others.
type libraryCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

func (libraryCore) Enabled(level zapcore.Level) bool { return level >= zapcore.ErrorLevel }

func (c libraryCore) With(fields []zapcore.Field) zapcore.Core {
	return libraryCore{c.log, append(slices.Clip(c.fields), fields...)}
}

func (c libraryCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

func (c libraryCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	for _, f := range append(slices.Clip(c.fields), fields...) {
		f.AddTo(values)
	}
	attrs := []any{"library", e.LoggerName, "message", e.Message}
	for k, v := range values.Fields {
		attrs = append(attrs, k, v)
	}
	c.log.Warn("a library of IPFS has failed at something", attrs...)
	return nil
}

func (libraryCore) Sync() error { return nil }
