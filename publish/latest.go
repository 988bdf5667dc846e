package publish

import (
	"context"
	"errors"
	"fmt"
)

// pointLatest makes latest_version.meta.txt on the targets of files name the newest
// version of their heads.
func (p *Publisher) pointLatest(ctx context.Context, channel string) error {
	for _, t := range p.withFiles() {
		for try := 1; ; try++ {
			err := p.swapLatest(ctx, t, channel)
			if err == nil {
				break
			}
			if !errors.Is(err, ErrConflict) || try == maxSwaps {
				return err
			}
		}
	}
	return nil
}

// swapLatest loads what is there before the head: had another agent published between
// the two, the version of the older head would replace its one.
func (p *Publisher) swapLatest(ctx context.Context, t Target, channel string) error {
	key := latestKey(channel)
	have, tag, err := t.Load(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("load %s from %s: %w", key, t, err)
	}
	head, err := p.head(channel).load(ctx, t)
	if err != nil || head.note == nil {
		return err
	}
	want := head.value.Snapshots[0].Version + "\n"
	if string(have) == want {
		return nil
	}
	if err := t.Swap(ctx, key, tag, []byte(want)); err != nil {
		return fmt.Errorf("swap %s on %s: %w", key, t, err)
	}
	return nil
}
