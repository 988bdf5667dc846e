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
	gologshim.SetDefaultHandler(libraryHandler{log: log})
	golog.SetPrimaryCore(libraryCore{log: log})
}

// libraryFailed is what the log has of whatever a library says.
const libraryFailed = "a library of IPFS has failed at something"

// libraryHandler is the log of go-libp2p.
type libraryHandler struct {
	log     *slog.Logger
	details []any // its attributes
}

func (libraryHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

func (h libraryHandler) Handle(ctx context.Context, r slog.Record) error {
	details := slices.Clip(h.details)
	r.Attrs(func(a slog.Attr) bool {
		details = append(details, a)
		return true
	})
	h.log.WarnContext(ctx, libraryFailed, "library", "go-libp2p", "message", r.Message, slog.Group("details", details...))
	return nil
}

func (h libraryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	details := slices.Clip(h.details)
	for _, a := range attrs {
		details = append(details, a)
	}
	return libraryHandler{h.log, details}
}

func (h libraryHandler) WithGroup(string) slog.Handler { return h }

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
	var details []any
	for k, v := range values.Fields {
		details = append(details, k, v)
	}
	c.log.Warn(libraryFailed, "library", e.LoggerName, "message", e.Message, slog.Group("details", details...))
	return nil
}

func (libraryCore) Sync() error { return nil }
