package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/snapshot/chain"
)

// Preflight asks a node whether a snapshot may be taken from it. It returns the
// last block that is certain to be in one, and which program the node is; each
// is nil if that cannot be said. The error wraps [chain.ErrWrongNode] if the node
// will never be fit.
type Preflight func(ctx context.Context) (*manifest.Block, *manifest.Node, error)

// NewPreflight is how the node of a channel is asked before a run, nil if the
// configuration does not say where it answers.
func NewPreflight(a *config.Agent, c *config.Channel) Preflight {
	if c.RPC == "" {
		return nil
	}
	i := newInquiry(a, c)
	return func(ctx context.Context) (*manifest.Block, *manifest.Node, error) {
		health, err := i.ask(ctx)
		if !i.watch.Since.IsZero() { // it has answered
			err = errors.Join(err, i.remember())
		}
		if err != nil {
			return nil, nil, err
		}
		return &health.Block, &health.Node, nil
	}
}

// AskNode returns how the node of a channel that has an rpc does, and why it must not
// be published from, as a preflight finds it. It changes nothing.
func AskNode(ctx context.Context, a *config.Agent, c *config.Channel) (chain.Health, error) {
	return newInquiry(a, c).ask(ctx)
}

// inquiry is what a node is asked, and what it must be like.
type inquiry struct {
	client *chain.Client
	want   chain.Requirements
	watch  chain.Watch // its finalized block, as it was seen last
	file   string      // where that is kept
}

func newInquiry(a *config.Agent, c *config.Channel) *inquiry {
	known, _ := chain.Lookup(c.Chain) // of one that is not known, nothing is known
	return &inquiry{
		client: &chain.Client{URL: c.RPC, Protocol: known.Protocol},
		want: chain.Requirements{
			Genesis:        cmp.Or(known.Genesis, c.Genesis),
			Archive:        strings.HasSuffix(c.Name, "-archive"),
			AllowValidator: c.Preflight.AllowValidator,
			MaxLag:         c.Preflight.MaxLag,
			MinHeight:      c.Preflight.MinHeight,
			Stuck:          time.Duration(c.Preflight.Stuck),
		},
		file: filepath.Join(a.State, c.Name+".finalized.json"),
	}
}

// ask returns what the node says, as far as it answers.
func (i *inquiry) ask(ctx context.Context) (chain.Health, error) {
	health, err := i.client.Look(ctx)
	if err != nil {
		if own := (interface{ Hint() string })(nil); ctx.Err() == nil && !errors.As(err, &own) {
			err = term.WithHint(err, "start the node, and compare rpc: with where it answers")
		}
		return chain.Health{}, err
	}
	b, err := os.ReadFile(i.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return chain.Health{}, fmt.Errorf("read which block the node had before: %w", err)
	}
	if err == nil && json.Unmarshal(b, &i.watch) != nil {
		i.watch = chain.Watch{} // a broken file says nothing
	}
	health.Still = i.watch.See(health.Block.Number, clock())
	return health, health.Check(i.want)
}

// remember keeps which block the node had, so that the next run sees if it
// stays the same.
func (i *inquiry) remember() error {
	b, err := json.Marshal(i.watch)
	if err == nil {
		err = renameio.WriteFile(i.file, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("remember which block the node has: %w", err)
	}
	return nil
}
