package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/qsync/qsync/cmd/internal/config"
)

// IPFSStanding is how the agent's node of IPFS can be reached, as the agent leaves it in the
// state directory while the node runs.
type IPFSStanding struct {
	Addresses []string          `json:"addresses"`         // that end in /p2p/ and the node
	Gateway   string            `json:"gateway,omitempty"` // address and port
	Sites     map[string]string `json:"sites,omitempty"`   // what the names of channels stand for
}

func standingFile(state string) string { return filepath.Join(state, "ipfs.json") }

// LookAtIPFS returns how the node stands, nil if none runs.
func LookAtIPFS(a *config.Agent) (*IPFSStanding, error) {
	if _, alive := held(agentLockFile(a.State)); !alive {
		return nil, nil // one that was killed may have left the file
	}
	text, err := os.ReadFile(standingFile(a.State))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &IPFSStanding{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("read %s: %w", standingFile(a.State), err)
	}
	return s, nil
}

func (s *IPFSStanding) save(state string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return renameio.WriteFile(standingFile(state), text, 0o644)
}

func forgetStanding(state string) error {
	if err := os.Remove(standingFile(state)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
