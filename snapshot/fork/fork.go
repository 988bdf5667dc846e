// Package fork freezes database directories.
//
// Three ways need nothing of the system but a filesystem. All hold the frozen
// files in a directory beside the database, see [Path].
//
//	reflink   every file is cloned: the clone shares the blocks, and a write to either unshares them
//	hardlink  every file is linked and read up to its length at the cut: nothing is
//	          copied, but only what is append-only is frozen by it
//	copy      every file is copied
//
// Files that their engine never writes twice are cloned or copied before the
// node is quiesced, and in the pause only looked at again.
package fork

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/qsync/qsync/snapshot"
)

// Names are the forks that New makes.
var Names = []string{"auto", "reflink", "hardlink", "copy"}

// New returns the forker of a name.
func New(name string) (snapshot.Forker, error) {
	switch name {
	case "auto":
		return auto{}, nil
	case "reflink":
		return reflink, nil
	case "hardlink":
		return hardlink{}, nil
	case "copy":
		return byCopy, nil
	}
	return nil, fmt.Errorf("fork %q is not known: want one of %s", name, strings.Join(Names, ", "))
}

// parallel is how many files are worked on at a time: what is slow is the
// filesystem's own work for each, which runs on the calling thread.
func parallel() int { return min(runtime.NumCPU(), 8) }
