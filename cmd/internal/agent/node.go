package agent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/chain"
	"github.com/qsync/qsync/snapshot/guard"
	"github.com/qsync/qsync/snapshot/node"
)

// NewNode is the node that the configuration describes.
func NewNode(c *config.Channel) (snapshot.Node, error) {
	kind, err := database.Lookup(c.Database.Kind)
	if err != nil {
		return nil, err
	}
	db := node.Database{Path: c.Database.Path, Kind: kind}
	mode := modeOf(c)
	switch {
	case c.Node.Systemd != nil:
		return &node.Systemd{Unit: c.Node.Systemd.Unit, Mode: mode, Database: db}, nil
	case c.Node.Docker != nil:
		n := c.Node.Docker
		return &node.Docker{Container: n.Container, Socket: n.Socket, Mode: mode, Database: db}, nil
	case c.Node.Freezer != nil:
		n := c.Node.Freezer
		return &node.Freezer{Unit: n.Unit, PIDFile: n.PIDFile, Database: db}, nil
	case c.Node.Signal != nil:
		return &node.Signal{PIDFile: c.Node.Signal.PIDFile, Database: db}, nil
	case c.Node.Command != nil:
		n := c.Node.Command
		return &node.Command{QuiesceArgv: n.Pause, ResumeArgv: n.Resume, Timeout: time.Duration(n.Timeout)}, nil
	}
	return &node.None{Database: db}, nil
}

// modeOf is the configured mode, or what the chain's nodes bear.
func modeOf(c *config.Channel) node.Mode {
	known, _ := chain.Lookup(c.Chain) // of one that is not known, nothing is known
	return node.Mode(cmp.Or(c.Mode, known.Mode()))
}

// GuardArgument is the verb by which the program starts itself as a guard.
const GuardArgument = "guard"

// told is what a guard is told about a node.
type told struct {
	config.Channel
	State string `json:"state"` // directory
}

// newGuard is a guard in a second process of this program. A node that nothing
// stops needs none.
func newGuard(state string, c *config.Channel) (snapshot.Guard, error) {
	if c.Node.None != nil {
		return nil, nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to start it as a guard: %w", err)
	}
	node, err := json.Marshal(told{*c, state})
	if err != nil {
		return nil, fmt.Errorf("tell the guard about the node: %w", err)
	}
	lock, err := nodeLockFile(state, c.Node)
	if err != nil {
		return nil, err
	}
	return &guard.Process{Path: program, Args: []string{os.Args[0], GuardArgument}, Node: node, Lock: lock + ".guard"}, nil
}

// OpenNode is the node that newGuard has told a guard about.
func OpenNode(node json.RawMessage) (snapshot.Node, error) {
	var t told
	if err := json.Unmarshal(node, &t); err != nil {
		return nil, fmt.Errorf("read which node to guard: %w", err)
	}
	return heldNode(t.State, &t.Channel)
}

// heldNode is a node that is held, or let go, by any of the processes that work
// with a state directory.
func heldNode(state string, c *config.Channel) (snapshot.Node, error) {
	n, err := NewNode(c)
	if command, ok := n.(*node.Command); ok && state != "" {
		var lock string
		lock, err = nodeLockFile(state, c.Node)
		command.Lock = lock + ".pause"
	}
	return n, err
}
