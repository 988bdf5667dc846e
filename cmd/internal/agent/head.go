package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
)

// standingHead is the head of a channel on the first target, nil if there is none.
// One that has expired is returned like any other.
func standingHead(ctx context.Context, p *publish.Publisher, channel string) (*manifest.Head, error) {
	first := p.Targets[0]
	note, _, err := first.Load(ctx, manifest.HeadKey(channel))
	if errors.Is(err, publish.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("load the head of %s from %s: %w", channel, first, err)
	}
	head, err := p.Policy.OpenHead(note, channel, time.Now())
	if refused := (*trust.Error)(nil); errors.As(err, &refused) && refused.Class == trust.Expired {
		err = nil
	}
	return head, err
}
