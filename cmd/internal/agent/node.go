package main

import (
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/node"
)

// newNode is the node that the configuration describes.
func newNode(c *config.Channel, kind *database.Kind) snapshot.Node {
	db := node.Database{Path: c.Database.Path, Kind: kind}
	switch {
	case c.Node.Signal != nil:
		return &node.Signal{PIDFile: c.Node.Signal.PIDFile, Database: db}
	case c.Node.Command != nil:
		n := c.Node.Command
		return &node.Command{QuiesceArgv: n.Pause, ResumeArgv: n.Resume, Timeout: time.Duration(n.Timeout)}
	}
	return &node.None{Database: db}
}
