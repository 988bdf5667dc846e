package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/qsync/qsync/manifest/trust"
)

// pointer is a signed mutable object that all targets are to hold alike: the
// head of a channel or the catalog. Equal sequence means equal bytes, since to
// those who fetch anything else is an attack.
type pointer[T signedText] struct {
	key      string
	swapped  map[string]bool // see Publisher
	name     string          // of its sequence in the state directory
	open     func(note []byte) (T, error)
	sequence func(T) int64
	// lacks reports whether a target does not hold what a value names, and is to
	// keep the value that it has; nil is never.
	lacks func(ctx context.Context, t Target, value T) (bool, error)
}

type signedText interface{ Marshal() ([]byte, error) }

// standing is what a target holds of a pointer; without a note, nothing.
type standing[T signedText] struct {
	note     []byte
	tag      string
	value    T
	sequence int64
}

func (k *pointer[T]) load(ctx context.Context, t Target) (standing[T], error) {
	var s standing[T]
	note, tag, err := t.Load(ctx, k.key)
	if errors.Is(err, ErrNotFound) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("load %s from %s: %w", k.key, t, err)
	}
	value, err := k.openAny(note)
	if err != nil {
		return s, fmt.Errorf("%s on %s is not ours: %w; publish with a key that signed it, or delete it there if it was forged",
			k.key, t, err)
	}
	return standing[T]{note: note, tag: tag, value: value, sequence: k.sequence(value)}, nil
}

// openAny verifies a note. One that is expired is good enough here: whoever
// holds the key may sign it again.
func (k *pointer[T]) openAny(note []byte) (T, error) {
	value, err := k.open(note)
	var refused *trust.Error
	if errors.As(err, &refused) && refused.Class == trust.Expired {
		err = nil
	}
	return value, err
}

// loadAll returns what each target holds and the place of the newest among it; of
// several, the first that has segments, which others can be brought up from.
func (k *pointer[T]) loadAll(ctx context.Context, targets []Target) (all []standing[T], newest int, err error) {
	for i, t := range targets {
		s, err := k.load(ctx, t)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, s)
		_, files := filesOf(t)
		_, newestFiles := filesOf(targets[newest])
		switch {
		case s.sequence > all[newest].sequence:
			newest = i
		case s.sequence == all[newest].sequence && !bytes.Equal(s.note, all[newest].note):
			return nil, 0, fmt.Errorf("%s has sequence %d on %s and on %s with different content: "+
				"agents that share targets must list the same one first; delete the one that is not wanted",
				k.key, s.sequence, targets[newest], t)
		case s.sequence == all[newest].sequence && newestFiles && !files:
			newest = i
		}
	}
	return all, newest, nil
}

// advance brings a target to a note that another target holds, unless it holds
// a later one, or lacks what the note names.
func (k *pointer[T]) advance(ctx context.Context, t Target, to standing[T]) error {
	if k.lacks != nil {
		if lacks, err := k.lacks(ctx, t, to.value); err != nil || lacks {
			return err
		}
	}
	for try := 1; ; try++ {
		s, err := k.load(ctx, t)
		if err != nil || s.sequence >= to.sequence {
			return err
		}
		err = t.Swap(ctx, k.key, s.tag, to.note)
		k.noteSwap(err)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) || try == maxSwaps {
			return fmt.Errorf("bring %s on %s to sequence %d: %w", k.key, t, to.sequence, err)
		}
	}
}

// noteSwap notes for the caches that the pointer is another one, or may be: an
// error other than a conflict does not say that nothing happened.
func (k *pointer[T]) noteSwap(err error) {
	if !errors.Is(err, ErrConflict) {
		k.swapped[k.key] = true
	}
}

// maxSwaps bounds the race with others for one mutable object.
const maxSwaps = 10

// rewrite replaces the pointer by what edit makes of the present one (its zero
// value if there is none) under the next sequence: on the first target by
// compare-and-swap, which is the commit, then on the others. If somebody else
// was faster, edit is called again with what they wrote. When the commit was
// made and a later target failed, both the new value and an error are returned.
func rewrite[T signedText](ctx context.Context, p *Publisher, k *pointer[T], edit func(present T, sequence int64) (T, error)) (*standing[T], error) {
	first := p.Targets[0]
	for try := 1; ; try++ {
		present, err := k.load(ctx, first)
		if err != nil {
			return nil, err
		}
		next, err := prepare(p, k, present, edit)
		if err != nil {
			return nil, err
		}
		err = first.Swap(ctx, k.key, present.tag, next.note)
		if err != nil {
			// The swap may have been applied although its answer was lost: then
			// this run has won.
			if after, loadErr := k.load(ctx, first); loadErr == nil && bytes.Equal(after.note, next.note) {
				err = nil
			}
		}
		k.noteSwap(err)
		if errors.Is(err, ErrConflict) && try < maxSwaps {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("swap %s on %s: %w", k.key, first, err)
		}
		var late []error
		for _, t := range p.Targets[1:] {
			late = append(late, k.advance(ctx, t, next))
		}
		return &next, errors.Join(late...)
	}
}

// prepare edits, signs, and checks the result with the eyes of those who fetch.
func prepare[T signedText](p *Publisher, k *pointer[T], present standing[T], edit func(T, int64) (T, error)) (next standing[T], err error) {
	used, err := p.usedSequence(k.name)
	if err != nil {
		return next, err
	}
	next.sequence = max(used, present.sequence) + 1
	if next.value, err = edit(present.value, next.sequence); err != nil {
		return next, err
	}
	text, err := next.value.Marshal()
	if err != nil {
		return next, fmt.Errorf("write %s: %w", k.key, err)
	}
	if err := p.useSequence(k.name, next.sequence); err != nil {
		return next, err
	}
	if next.note, err = trust.Sign(text, p.Signers...); err != nil {
		return next, fmt.Errorf("sign %s: %w", k.key, err)
	}
	if _, err := k.open(next.note); err != nil {
		return next, fmt.Errorf("nobody would believe %s as this agent signs it: %w; check the configured key against the keys that are trusted", k.key, err)
	}
	return next, nil
}
