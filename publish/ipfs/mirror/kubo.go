package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/qsync/qsync/publish/ipfs"
)

// KuboOptions say which Kubo it is.
type KuboOptions struct {
	// URL is that of its RPC, like http://127.0.0.1:5001.
	URL string
	// TokenFile holds what the RPC asks for, as API.Authorizations of Kubo's
	// configuration has it: bearer:TOKEN, basic:USER:PASSWORD, or a token alone.
	// Empty is nothing.
	TokenFile string
	// Trees are those that it is to keep.
	Trees []Tree
	// Publisher is the publisher's name.
	Publisher string
	// StateDir is where the status is kept.
	StateDir string
	// Changed is told how far it is; nil is nobody.
	Changed func(Pin)
}

// Kubo keeps versions in a Kubo of the publisher's or anybody's who lets him, of
// version 0.30 or later. It is sent the blocks that it lacks, so it needs no way to
// the agent, and room for all that it keeps.
//
// Blocks go in parts of some hundred megabytes, and what has arrived is pinned part
// by part, so that no collection of garbage takes it away before all is there.
type Kubo struct {
	options KuboOptions
	blocks  ipfs.Blocks
	client  *http.Client
	ledger

	maxUnit, partSize int64
	samples           int
	patience          time.Duration
}

var _ Mirror = (*Kubo)(nil)

// NewKubo returns the Kubo, which is sent the blocks. It asks it nothing.
func NewKubo(o KuboOptions, blocks ipfs.Blocks) *Kubo {
	o.URL = strings.TrimSuffix(o.URL, "/")
	return &Kubo{
		options: o, blocks: blocks,
		client:  &http.Client{Transport: http.DefaultTransport, CheckRedirect: noRedirects},
		ledger:  ledger{o.StateDir, "kubo", "kubo " + o.URL},
		maxUnit: defaultUnit, partSize: defaultPart, samples: defaultSamples, patience: defaultPatience,
	}
}

// String implements [Mirror].
func (k *Kubo) String() string { return k.title }

func (k *Kubo) rpc() (*rpc, error) {
	auth, err := readToken(k.options.TokenFile)
	if err != nil {
		return nil, err
	}
	return &rpc{k.options.URL, k.client, auth, k.patience}, nil
}

// Mirror implements [Mirror]: it sends, pins, and reads some blocks back.
func (k *Kubo) Mirror(ctx context.Context, v Version) error {
	for _, r := range v.roots(k.options.Trees) {
		if err := k.keep(ctx, r); err != nil {
			err = fmt.Errorf("mirror %s on %s: %w", r, k, err)
			k.failed(ctx, r, err)
			return err
		}
	}
	return nil
}

func (k *Kubo) keep(ctx context.Context, r root) error {
	// One at a time: a disk gets no faster by two.
	unlock, err := k.lock(ctx, "push")
	if err != nil {
		return err
	}
	defer unlock()
	api, err := k.rpc()
	if err != nil {
		return err
	}
	if _, err := k.note(ctx, r, func(p *Pin) {
		if p.CID != r.CID.String() || p.State != Pinned {
			p.State = Begun
		}
	}); err != nil {
		return err
	}
	pinned, err := api.isPinned(ctx, r.CID)
	if err != nil {
		return err
	}
	p := &push{kubo: k, api: api, root: r, name: name(k.options.Publisher, r.Channel, r.tree)}
	if !pinned {
		if err := p.run(ctx); err != nil {
			return err
		}
	}
	err = k.check(ctx, api, r.CID)
	if lacks(err) && pinned {
		// Something has been lost. Then pins say nothing of what is there.
		p.distrust = true
		if err = p.run(ctx); err == nil {
			err = k.check(ctx, api, r.CID)
		}
	}
	if err != nil {
		return err
	}
	if err := p.dropParts(ctx); err != nil {
		return err
	}
	done, err := k.note(ctx, r, func(p *Pin) { p.State, p.Left, p.Error = Pinned, 0, "" })
	k.tell(done)
	return err
}

func (k *Kubo) tell(p Pin) {
	if k.options.Changed != nil {
		k.options.Changed(p)
	}
}

// Forget implements [Mirror]. The room is free when Kubo collects its garbage.
func (k *Kubo) Forget(ctx context.Context, channel string, keep []Version) error {
	err := k.drop(ctx, channel, keep)
	if err != nil {
		err = fmt.Errorf("drop old versions of %s on %s: %w", channel, k, err)
	}
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, k.forgotten(ctx, channel, keep, k.options.Trees, err))
}

func (k *Kubo) drop(ctx context.Context, channel string, keep []Version) error {
	api, err := k.rpc()
	if err != nil {
		return err
	}
	status, err := k.Status()
	if err != nil {
		return err
	}
	cids, others := kept(keep, k.options.Trees), status.others(channel)
	var old []string
	for _, tree := range Trees {
		called := name(k.options.Publisher, channel, tree)
		pins, err := api.pins(ctx, called)
		if err != nil {
			return err
		}
		for c, name := range pins {
			isPart := name == called+part && len(keep) == 0
			if (name == called || isPart) && !cids[c] && !others[c] {
				old = append(old, c)
			}
		}
	}
	slices.Sort(old)
	return api.unpin(ctx, old)
}
