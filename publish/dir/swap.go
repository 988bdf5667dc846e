package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/internal/durable"
)

// Load implements [publish.Pointers]. The tag is the digest of the content.
func (t *Target) Load(ctx context.Context, key string) (body []byte, tag string, err error) {
	path, err := t.path(key)
	if err != nil {
		return nil, "", err
	}
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", notFound(err)
	}
	defer f.Close()
	body, err = io.ReadAll(io.LimitReader(f, publish.MaxMutableSize+1))
	if err != nil {
		return nil, "", err
	}
	if len(body) > publish.MaxMutableSize {
		return nil, "", fmt.Errorf("%s has more than %d bytes", path, publish.MaxMutableSize)
	}
	return body, manifest.Sum(body).Hex(), nil
}

// lockPoll is how often a swap looks whether another one is done.
const lockPoll = 5 * time.Millisecond

// Swap implements [publish.Pointers]. Swaps of all keys and processes come one
// after the other: flock orders them, and is given free by the kernel when its
// holder dies.
func (t *Target) Swap(ctx context.Context, key, tag string, body []byte) error {
	path, err := t.path(key)
	if err != nil {
		return err
	}
	if len(body) > publish.MaxMutableSize {
		return fmt.Errorf("%s: %d bytes are more than a mutable object may have", path, len(body))
	}
	lock := flock.New(filepath.Join(t.base, ".qsync", "lock"))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	defer lock.Close()

	_, present, err := t.Load(ctx, key)
	if err != nil && !errors.Is(err, publish.ErrNotFound) {
		return err
	}
	if present != tag {
		return fmt.Errorf("%w: %s was changed meanwhile", publish.ErrConflict, path)
	}
	return durable.WriteFile(t.tmp, path, body)
}
