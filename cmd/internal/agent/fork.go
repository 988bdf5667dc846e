package agent

import (
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
)

// NewForker is the forker that the configuration describes.
func NewForker(c *config.Channel) (snapshot.Forker, error) {
	if own := c.Fork.Command; own != nil {
		return &fork.Command{CreateArgv: own.Create, ReleaseArgv: own.Release, Timeout: time.Duration(own.Timeout)}, nil
	}
	return fork.New(c.Fork.Name)
}
