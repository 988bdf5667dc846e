package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/qsync/qsync/snapshot"
)

// stamps are what the run of a version remembers of a database's files, so that
// the next run need not read those that are unchanged.
type stamps struct {
	Version  string                    `json:"version"`
	Database string                    `json:"database"`
	Files    map[string]snapshot.Stamp `json:"files"`
}

func stampsFile(state, channel string) string {
	return filepath.Join(state, channel+".stamps.json")
}

// loadStamps returns the stamps of a version, or none: they only save work, and
// those of another version or directory would lie.
func loadStamps(file, version, database string) (map[string]snapshot.Stamp, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the stamps of the last run: %w", err)
	}
	var s stamps
	readable := json.Unmarshal(b, &s) == nil
	if !readable || s.Version != version || s.Database != database {
		return nil, nil
	}
	return s.Files, nil
}

// save replaces the file whole. A power cut may bring the old one back, whose
// version then does not fit.
func (s stamps) save(file string) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = renameio.WriteFile(file, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember the stamps: %w", err)
	}
	return nil
}
