package ipfs

import (
	"context"
	"sync"
	"time"

	"github.com/qsync/qsync/manifest/unixfs"
)

// At is the site at a root.
func At(root unixfs.CID) Site {
	return func(context.Context) (unixfs.CID, error) { return root, nil }
}

// nameTime is how long what a name stands for is not asked for again.
const nameTime = time.Minute

// Named is the site that a name on IPNS stands for at the time.
func Named(names *Names, name string) Site {
	var mu sync.Mutex
	var root unixfs.CID
	var known time.Time
	return func(ctx context.Context) (unixfs.CID, error) {
		mu.Lock()
		defer mu.Unlock()
		if root.Codec != 0 && time.Since(known) < nameTime {
			return root, nil
		}
		now, err := names.Resolve(ctx, name)
		if err != nil {
			return now, err
		}
		root, known = now, time.Now()
		return root, nil
	}
}
