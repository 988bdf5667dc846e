package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/scripts/require"
)

// TestFullStateDirectory fills the disk of the state directory. The node that an
// earlier run left goes on all the same, and the run says what is wrong.
func TestFullStateDirectory(t *testing.T) {
	require.Root(t)
	file := configuration(t, "", "")
	cfg, err := config.LoadAgent(file)
	must(t, err)
	must(t, os.Mkdir(cfg.State, 0o755))
	must(t, unix.Mount("tmpfs", cfg.State, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, unix.Unmount(cfg.State, 0)) })

	c := &cfg.Channels[0]
	resumed := filepath.Join(filepath.Dir(file), "resumed")
	c.Node = config.Node{Command: &config.CommandNode{Pause: []string{"false"}, Resume: []string{"touch", resumed}}}
	must(t, os.WriteFile(stateFile(cfg, c), fmt.Appendf(nil, `{"database":%q,"quiesced":true}`, c.Database.Path), 0o600))
	filler := filepath.Join(cfg.State, "filler")
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal("the disk is not full: ", err)
	}

	run := func() error {
		_, err := (&Publication{Config: cfg, Channel: c}).Run(t.Context())
		return err
	}
	if err := run(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a run without room for its record: %v", err)
	}
	if _, err := os.Stat(resumed); err != nil {
		t.Error("the node waits for room on the disk: ", err)
	}
	must(t, os.Remove(filler))
	c.Node = config.Node{None: &struct{}{}}
	must(t, run())
}
