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
	for _, want := range []string{"a library of IPFS has failed at something", "it broke"} {
		var line map[string]any
		must(t, dec.Decode(&line))
		if line["level"] != "WARN" || line["msg"] != want || line["block"] != 7.0 {
			t.Errorf("%v", line)
		}
	}
	if dec.More() {
		t.Error("more was logged")
	}
}
