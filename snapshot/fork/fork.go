// Package fork freezes database directories.
//
//	btrfs     a read-only snapshot of the subvolume that the database lies in
//	reflink   every file is cloned: the clone shares the blocks, and a write to either unshares them
//	hardlink  every file is linked and read up to its length at the cut: nothing is
//	          copied, but only what is append-only is frozen by it
//	lvm       a snapshot of the logical volume that the database lies on, mounted read-only
//	copy      every file is copied
//	command   whatever two commands of the operator's do
//
// Whatever a fork needs lies in a directory beside the database, see [Path], or
// is noted there before it is made. So what a killed run left can be removed by any
// forker, and by the same code that releases a fork.
//
// Files that their engine never writes twice are linked, cloned or copied before
// the node is quiesced, and in the pause only looked at again. A snapshot of a whole
// filesystem is taken in the pause, after what is dirty has been written.
package fork

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/snapshot"
)

// Names are the forks that New makes.
var Names = []string{"auto", "reflink", "btrfs", "lvm", "hardlink", "copy"}

// New returns the forker of a name. The one that runs commands is [Command].
func New(name string) (snapshot.Forker, error) {
	switch name {
	case "auto":
		return auto{}, nil
	case "reflink":
		return reflink, nil
	case "btrfs":
		return btrfs{}, nil
	case "lvm":
		return lvm{}, nil
	case "hardlink":
		return hardlink{}, nil
	case "copy":
		return byCopy, nil
	}
	return nil, fmt.Errorf("fork %q is not known: want one of %s", name, strings.Join(Names, ", "))
}

// each calls do for every entry, several at a time, and stops at the first error.
func each(ctx context.Context, entries []snapshot.Entry, do func(context.Context, *snapshot.Entry) error) error {
	g, ctx := errgroup.WithContext(ctx)
	workers := parallel()
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(entries); i += workers {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := do(ctx, &entries[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// parallel is how many files are worked on at a time: what is slow is the
// filesystem's own work for each, which runs on the calling thread.
func parallel() int { return min(runtime.NumCPU(), 8) }
