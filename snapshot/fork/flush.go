package fork

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	flushRounds = 4
	flushedIn   = 100 * time.Millisecond
)

// flush writes to disk what is dirty on the filesystem of a directory, so that
// little is left to write in the pause. While much is written the node makes more
// dirty: then once more.
func flush(ctx context.Context, dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for range flushRounds {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		start := time.Now()
		if err := unix.Syncfs(int(f.Fd())); err != nil {
			return fmt.Errorf("sync the filesystem of %s: %w", dir, err)
		}
		if time.Since(start) < flushedIn {
			break
		}
	}
	return nil
}
