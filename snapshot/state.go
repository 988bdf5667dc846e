package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

// resumeTimeout bounds how long a node may take to go on.
const resumeTimeout = 2 * time.Minute

// state is the durable record of a run that holds a node or a fork.
type state struct {
	Database string    `json:"database"`
	Node     string    `json:"node"`     // for people
	Quiesced bool      `json:"quiesced"` // the node may be held
	Since    time.Time `json:"since"`
}

func (s *state) save(file string) error {
	if file == "" {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the state of the run: %w", err)
	}
	if err := renameio.WriteFile(file, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("record the state of the run in %s: %w", file, err)
	}
	return syncDirectory(filepath.Dir(file))
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", path, err)
	}
	return nil
}

func removeState(file string) error {
	if file == "" {
		return nil
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Recover undoes what a run left that was killed: it resumes the node and
// removes the fork. Without a state file there is nothing to do. The caller sees to it
// that no run with this state file is under way.
func Recover(ctx context.Context, node Node, forker Forker, stateFile string) error {
	if stateFile == "" {
		return nil
	}
	b, err := os.ReadFile(stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read what an earlier run left in %s: %w", stateFile, err)
	}
	var noteErr error // on a full disk the fork is removed all the more
	if s.Quiesced {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resumeTimeout)
		defer cancel()
		// A node that is gone was restarted or stopped by somebody since.
		if err := node.Resume(ctx); err != nil && !errors.Is(err, ErrNodeGone) {
			return fmt.Errorf("resume %s, which a run of %s left quiesced: %w", node, s.Since.Format(time.RFC3339), err)
		}
		// Once only. If the fork cannot be removed this is called again and again, and
		// somebody may have stopped the node since.
		s.Quiesced = false
		noteErr = s.save(stateFile)
	}
	// The database may have been moved away; its fork is then gone or not ours to look for.
	if err := forker.Clean(ctx, s.Database); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("remove the fork of an earlier run: %w", err), noteErr)
	}
	return removeState(stateFile)
}
