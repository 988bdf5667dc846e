package agent

import (
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
)

// NewForker is the forker that the configuration describes.
func NewForker(c *config.Channel) (snapshot.Forker, error) {
	return fork.New(c.Fork.Name)
}
