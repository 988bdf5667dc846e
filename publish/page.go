package publish

import (
	"context"
	"errors"
	"fmt"
)

// Where a publisher may say how it does, for people and for programs. Neither is
// signed, and no fetcher reads them. Both change often, so that no cache is told: it
// shows what is new when CacheShortly is over.
const (
	StatusPageKey = "status/index.html"
	StatusKey     = "status/status.json"
)

// PutPage makes an object that nobody signs the given one, whatever was there before:
// of several agents the last one has it. It must be one of those above.
func PutPage(ctx context.Context, t Target, key string, body []byte) error {
	for try := 1; ; try++ {
		_, tag, err := t.Load(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("load %s from %s: %w", key, t, err)
		}
		err = t.Swap(ctx, key, tag, body)
		if errors.Is(err, ErrConflict) && try < maxSwaps {
			continue
		}
		if err != nil {
			return fmt.Errorf("swap %s on %s: %w", key, t, err)
		}
		return nil
	}
}
