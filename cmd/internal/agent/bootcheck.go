package agent

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/qsync/qsync/snapshot/program"
)

// bootCheckKill is how long after a cancelled run told the check to end it is
// killed: a node that is booted closes its database first.
const bootCheckKill = 30 * time.Second

// bootCheck runs the channel's check on a directory; it is nil if there is none.
func (p *Publication) bootCheck() func(ctx context.Context, dir string) error {
	if len(p.Channel.BootCheck) == 0 {
		return nil
	}
	return func(ctx context.Context, dir string) error {
		words := []string{"{dir}", dir}
		if p.block != nil {
			words = append(words, "{height}", strconv.FormatInt(p.block.Number, 10), "{hash}", p.block.Hash)
		}
		replacer := strings.NewReplacer(words...)
		check := program.Program{Kill: bootCheckKill}
		for _, word := range p.Channel.BootCheck {
			check.Argv = append(check.Argv, replacer.Replace(word))
		}
		start := time.Now()
		if err := check.Run(ctx); err != nil {
			return err
		}
		p.Log.Info("the boot check is passed", "took", time.Since(start).Round(time.Millisecond))
		return nil
	}
}
