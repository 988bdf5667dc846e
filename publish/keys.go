package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
)

// keysName stands for the list of keys among the files of the state directory. No
// channel can be named like it.
const keysName = manifest.KeysKey

// Root is who says which keys may sign heads and catalogs: the keys that those
// who fetch have pinned, and that are kept offline otherwise.
type Root struct {
	// Signers sign the list of keys, all of them each time.
	Signers []note.Signer
	// Policy trusts the keys of the Signers.
	Policy trust.Policy
	// TTL is how long a list is valid after it was signed.
	TTL time.Duration
}

func (p *Publisher) keys(root trust.Policy) *pointer[*manifest.Keys] {
	return &pointer[*manifest.Keys]{
		key:     manifest.KeysKey,
		swapped: p.swapped,
		name:    keysName,
		open: func(note []byte) (*manifest.Keys, error) {
			_, keys, err := root.Certify(note, p.now())
			return keys, err
		},
		sequence: func(k *manifest.Keys) int64 { return k.Sequence },
	}
}

// Keys returns the list of keys that each target holds, nil for one that holds
// none. They differ while a Certify is not finished. Expired lists are
// returned too. Error: an [trust.Error] if root has not signed one of them.
func (p *Publisher) Keys(ctx context.Context, root trust.Policy) ([]*manifest.Keys, error) {
	all, _, err := p.keys(root).loadAll(ctx, p.Targets)
	if err != nil {
		return nil, err
	}
	lists := make([]*manifest.Keys, len(all))
	for i, s := range all {
		lists[i] = s.value
	}
	return lists, nil
}

// Certify replaces the list of keys on all targets by the keys that edit returns,
// signed by root. edit is given the newest list of any target, nil if there is
// none, and may be called more than once. Any order of the keys will do.
//
// A list together with an error says that a target behind the first one does not
// have it yet: Certify again.
func (p *Publisher) Certify(ctx context.Context, root Root, edit func(present *manifest.Keys) (verifierKeys []string, err error)) (*manifest.Keys, error) {
	op := p.operation()
	defer op.invalidate(ctx)
	return op.certify(ctx, root, edit)
}

func (p *Publisher) certify(ctx context.Context, root Root, edit func(present *manifest.Keys) ([]string, error)) (*manifest.Keys, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	lock, err := p.openLock(keysName)
	if err != nil {
		return nil, err
	}
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, fmt.Errorf("lock the list of keys: %w", err)
	}
	defer lock.Unlock()

	k := p.keys(root.Policy)
	all, newest, err := k.loadAll(ctx, p.Targets)
	if err != nil {
		return nil, err
	}
	// The first target may be new or have lost its list.
	if all[newest].note != nil {
		if err := k.advance(ctx, p.Targets[0], all[newest]); err != nil {
			return nil, err
		}
	}
	by := *p
	by.Signers = root.Signers
	done, err := rewrite(ctx, &by, k, func(present *manifest.Keys, sequence int64) (*manifest.Keys, error) {
		if present != nil && present.Publisher != p.Name {
			return nil, fmt.Errorf("the list of keys on %s is that of publisher %s, not of %s: check the configured publisher",
				p.Targets[0], present.Publisher, p.Name)
		}
		verifiers, err := edit(present)
		if err != nil {
			return nil, err
		}
		verifiers = slices.Clone(verifiers)
		slices.Sort(verifiers)
		return &manifest.Keys{
			Publisher: p.Name, Sequence: sequence, Expires: p.now().Add(root.TTL).UTC().Truncate(time.Second),
			Verifiers: slices.Compact(verifiers),
		}, nil
	})
	if done == nil {
		return nil, err
	}
	return done.value, err
}

// Catalog returns the newest catalog of any target, nil if there is none. It may
// have expired.
func (p *Publisher) Catalog(ctx context.Context) (*manifest.Catalog, error) {
	all, newest, err := p.catalog().loadAll(ctx, p.Targets)
	if err != nil {
		return nil, err
	}
	return all[newest].value, nil
}

// Unadopted returns the channels whose head on some target only former keys have
// signed: the Policy refuses it and former, which trusts those keys too, does not.
// It looks at the given channels and at those of the catalog, and names all of
// them if it is the catalog that nobody else has signed.
//
// A thief of a former key may have signed such a head. So one whose sequence is
// higher than any that this agent has used is an error.
func (p *Publisher) Unadopted(ctx context.Context, former trust.Policy, channels []string) ([]string, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	wide := *p
	wide.Policy = former
	listed, err := wide.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	every := slices.Clone(channels)
	if listed != nil {
		for _, c := range listed.Channels {
			every = append(every, c.Channel)
		}
	}
	slices.Sort(every)
	every = slices.Compact(every)
	stale, err := unadopted(ctx, p, p.catalog(), wide.catalog())
	if err != nil {
		return nil, err
	}
	var found []string
	for _, channel := range every {
		is, err := unadopted(ctx, p, p.head(channel), wide.head(channel))
		if err != nil {
			return nil, err
		}
		if is {
			found = append(found, channel)
			continue
		}
		if stale {
			head, err := wide.newestHead(ctx, channel)
			if err != nil {
				return nil, err
			}
			if head != nil {
				found = append(found, channel)
			}
		}
	}
	return found, nil
}

// unadopted reports whether some target's note is one that only wide opens.
func unadopted[T signedText](ctx context.Context, p *Publisher, narrow, wide *pointer[T]) (bool, error) {
	used, err := p.usedSequence(wide.name)
	if err != nil {
		return false, err
	}
	is := false
	for _, t := range p.Targets {
		s, err := wide.load(ctx, t)
		if err != nil {
			return false, err
		}
		if s.note == nil {
			continue
		}
		if _, err := narrow.openAny(s.note); err == nil {
			continue
		}
		if used > 0 && s.sequence > used {
			return false, fmt.Errorf("%s on %s has sequence %d, and this agent has signed none above %d: "+
				"another agent has signed it, or somebody who has stolen the key; if it is another agent of yours, run this there",
				wide.key, t, s.sequence, used)
		}
		is = true
	}
	return is, nil
}

// Adopt signs the heads of the channels, and the catalog, again with the present
// Signers, so that the Policy accepts them. Former trusts the keys that have
// signed them so far too. The channels are what Unadopted has returned.
func (p *Publisher) Adopt(ctx context.Context, former trust.Policy, channels []string) error {
	wide := p.operation()
	defer wide.invalidate(ctx)
	wide.Policy = former
	var errs []error
	for _, channel := range channels {
		errs = append(errs, wide.renew(ctx, channel))
	}
	return errors.Join(errs...)
}
