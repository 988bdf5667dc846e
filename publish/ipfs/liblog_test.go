package ipfs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"testing"

	golog "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/gologshim"
)

// TestLogLibraries: what libraries say is in the log, in its form, and only what has failed.
func TestLogLibraries(t *testing.T) {
	var said bytes.Buffer
	LogLibraries(slog.New(slog.NewJSONHandler(&said, nil)))
	t.Cleanup(func() { LogLibraries(slog.New(slog.NewTextHandler(os.Stderr, nil))) })
	theirs, shim := golog.Logger("test/theirs"), gologshim.Logger("test/shim")
	theirs.Warnw("quiet")
	theirs.Errorw("it broke", "block", 7)
	shim.Warn("quiet")
	shim.Error("it broke", "block", 7)
	dec := json.NewDecoder(&said)
	for _, library := range []string{"test/theirs", "go-libp2p"} {
		var line struct {
			Level, Msg, Library, Message string
			Details                      struct{ Block int }
		}
		must(t, dec.Decode(&line))
		if line.Level != "WARN" || line.Msg != libraryFailed || line.Library != library || line.Message != "it broke" || line.Details.Block != 7 {
			t.Errorf("%+v", line)
		}
	}
	if dec.More() {
		t.Error("more was logged")
	}
}
