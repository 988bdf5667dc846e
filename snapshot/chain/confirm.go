package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest"
)

var (
	// ErrContradicted says that a node's word is against a claim.
	ErrContradicted = errors.New("contradicted")
	// ErrUnconfirmed says that no node's word is for a claim: none has the
	// block, or none answers. Later one may.
	ErrUnconfirmed = errors.New("not confirmed")
)

// Claim is what somebody says of a chain, for others to confirm.
type Claim struct {
	Genesis string         // empty if nothing is said of it
	Block   manifest.Block // without a hash, that the chain is final up to that number
	// Fresh says that the block may be newer than what every node has finalized.
	// Of any other block a node that calls it not final contradicts the claim.
	Fresh bool
}

// Answer is what one node said to a claim.
type Answer struct {
	Node string // without what may be secret in its URL
	// Vote is for or against the claim, or none.
	Vote Vote
	Says string // for people
}

// Vote is what a node's answer means for a claim.
type Vote int

// The votes.
const (
	None Vote = iota // it does not answer, or has not got the block
	For
	Against
)

const (
	// confirmTimeout is how long a node may take for all that it is asked.
	confirmTimeout = 30 * time.Second
	askedAtOnce    = 8
)

// Confirm asks independent nodes whether a claim is true. The error wraps
// [ErrContradicted] if one of them says that it is not, or [ErrUnconfirmed] if
// none says that it is. The answers are in the order of the nodes.
func Confirm(ctx context.Context, nodes []*Client, claim Claim) ([]Answer, error) {
	answers := make([]Answer, len(nodes))
	group := errgroup.Group{}
	group.SetLimit(askedAtOnce)
	for i, node := range nodes {
		group.Go(func() error {
			ctx, cancel := context.WithTimeoutCause(ctx, confirmTimeout, fmt.Errorf("no answer within %s", confirmTimeout))
			defer cancel()
			answers[i] = node.confirm(ctx, claim)
			return nil
		})
	}
	_ = group.Wait() // none of them fails
	if err := context.Cause(ctx); err != nil {
		return answers, err
	}
	return answers, judge(answers)
}

func judge(answers []Answer) error {
	var said [Against + 1][]string
	for _, a := range answers {
		said[a.Vote] = append(said[a.Vote], a.Node+" "+a.Says)
	}
	switch {
	case len(said[Against]) > 0:
		return fmt.Errorf("%w: %s", ErrContradicted, strings.Join(append(said[Against], said[For]...), "; "))
	case len(said[For]) == 0:
		return fmt.Errorf("%w: %s", ErrUnconfirmed, cmp.Or(strings.Join(said[None], "; "), "there is no node to ask"))
	}
	return nil
}

// Name is the node's URL without what may be secret: hosted nodes have a key in
// the path.
func (c *Client) Name() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return "a node" // the error would repeat the URL
	}
	return u.Scheme + "://" + u.Host
}

func (c *Client) confirm(ctx context.Context, claim Claim) Answer {
	answer := func(vote Vote, format string, args ...any) Answer {
		return Answer{c.Name(), vote, fmt.Sprintf(format, args...)}
	}
	d, err := c.dialect(ctx)
	if err != nil {
		return answer(None, "does not answer: %s", err)
	}
	genesis, err := d.hashAt(ctx, 0)
	if err != nil {
		return answer(None, "does not say what its genesis is: %s", err)
	}
	if claim.Genesis != "" && genesis != claim.Genesis {
		return answer(Against, "is on another chain: its genesis is %s, not %s", genesis, claim.Genesis)
	}
	// First what is final, then the hash: so that what is final then was so before.
	final, err := d.block(ctx)
	if err != nil {
		return answer(None, "does not say which block is final: %s", err)
	}
	settled := final.Finalized && final.Number >= claim.Block.Number
	if claim.Block.Hash == "" {
		if !settled {
			return answer(None, "is final up to block %d only", final.Number)
		}
		return answer(For, "is final up to block %d", final.Number)
	}
	hash, err := d.hashAt(ctx, claim.Block.Number)
	switch {
	case errors.Is(err, errNull):
		return answer(None, "has not got block %d", claim.Block.Number)
	case err != nil:
		return answer(None, "does not say what block %d is: %s", claim.Block.Number, err)
	case !settled && claim.Fresh:
		return answer(None, "has not finalized block %d yet", claim.Block.Number)
	case hash != claim.Block.Hash:
		return answer(Against, "says that block %d is %s, not %s", claim.Block.Number, hash, claim.Block.Hash)
	case !settled:
		return answer(Against, "has not finalized block %d", claim.Block.Number)
	}
	return answer(For, "says that block %d is %s", claim.Block.Number, hash)
}

// Genesis is the hash of the chain's block 0.
func (c *Client) Genesis(ctx context.Context) (string, error) {
	d, err := c.dialect(ctx)
	if err != nil {
		return "", err
	}
	return d.hashAt(ctx, 0)
}
