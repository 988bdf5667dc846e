package chain

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Why a node must not be published from.
var (
	// ErrUnhealthy says that the node may be fit later: it syncs, has no peers, is
	// behind or stands still.
	ErrUnhealthy = errors.New("the node is not healthy")
	// ErrWrongNode says that the node never will be: it is on another chain, speaks
	// another protocol, signs blocks, or has dropped what an archive keeps.
	ErrWrongNode = errors.New("the node is the wrong one")
)

// Requirements are what a node must be like to be published from.
type Requirements struct {
	Genesis        string        // as in Chain; empty is any
	Archive        bool          // the state of old blocks must be there
	AllowValidator bool          // that signs blocks
	MaxLag         int64         // blocks behind the highest that it has heard of; 0 is any number
	MinHeight      int64         // of the finalized block
	Stuck          time.Duration // the longest without a new block; 0 is any time
}

// PreflightError has every reason why a node must not be published from. It
// wraps ErrWrongNode, ErrUnhealthy, or both: then ErrWrongNode is what counts.
type PreflightError struct {
	Wrong     []string // reasons that stay
	Unhealthy []string // reasons that may pass
	hint      string
}

func (e *PreflightError) Error() string {
	return "the node must not be published from: " + strings.Join(slices.Concat(e.Wrong, e.Unhealthy), "; ")
}

// Hint is what to do about it.
func (e *PreflightError) Hint() string { return e.hint }

func (e *PreflightError) Unwrap() []error {
	var errs []error
	if len(e.Wrong) > 0 {
		errs = append(errs, ErrWrongNode)
	}
	if len(e.Unhealthy) > 0 {
		errs = append(errs, ErrUnhealthy)
	}
	return errs
}

// Check compares a node with what is required. The error is a *[PreflightError].
func (h Health) Check(want Requirements) error {
	e := &PreflightError{}
	h.checkIdentity(e, want)
	h.checkHealth(e, want)
	if len(e.Wrong)+len(e.Unhealthy) == 0 {
		return nil
	}
	return e
}

func (h Health) checkIdentity(e *PreflightError, want Requirements) {
	if want.Genesis != "" && h.Genesis != want.Genesis {
		e.wrong("compare the channel's rpc with its chain",
			"it is on another chain (%q): its genesis is %s, not %s", h.Chain, h.Genesis, want.Genesis)
	}
	if h.Validator && !want.AllowValidator {
		e.wrong("publish from a node that is none, or set preflight.allow_validator: its chain punishes a validator that stands still",
			"it is a validator")
	}
	if want.Archive && h.Pruned != "" {
		e.wrong("name the channel for what the node keeps, or publish from an archive node",
			"it is not an archive: asked for the state of block 1, %s", h.Pruned)
	}
}

func (h Health) checkHealth(e *PreflightError, want Requirements) {
	if h.Syncing {
		e.unhealthy("it is syncing, at block %d of %s", h.Best, orUnknown(h.Highest))
	}
	if h.Peers == 0 && !h.Alone {
		e.unhealthy("it has no peers")
	}
	if lag := h.Highest - h.Best; want.MaxLag > 0 && lag > want.MaxLag {
		e.unhealthy("it is %d blocks behind, more than %d", lag, want.MaxLag)
	}
	if h.Block.Number < want.MinHeight {
		e.unhealthy("its block %d is below the lowest that is wanted, %d", h.Block.Number, want.MinHeight)
	}
	if want.Stuck <= 0 {
		return
	}
	if h.Still > want.Stuck {
		e.unhealthy("block %d has been its newest finalized one for %s", h.Block.Number, h.Still.Round(time.Second))
	}
	// A developer's chain makes blocks when there is something to put in.
	if h.BestAge > want.Stuck && !h.Alone {
		e.unhealthy("its newest block, %d, is %s old by this machine's clock", h.Best, h.BestAge.Round(time.Second))
	}
}

func orUnknown(height int64) string {
	if height == 0 {
		return "an unknown number"
	}
	return fmt.Sprint(height)
}

// wrong adds a reason. The hint to the first one is kept: where the chain is
// another, nothing else matters.
func (e *PreflightError) wrong(hint, format string, args ...any) {
	if e.hint == "" {
		e.hint = hint
	}
	e.Wrong = append(e.Wrong, fmt.Sprintf(format, args...))
}

func (e *PreflightError) unhealthy(format string, args ...any) {
	if e.hint == "" {
		e.hint = "wait until the node is well: its own log says more"
	}
	e.Unhealthy = append(e.Unhealthy, fmt.Sprintf(format, args...))
}
