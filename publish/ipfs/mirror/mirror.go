// Package mirror has published versions kept by IPFS nodes that are not the agent's:
// by a Kubo, which is sent the blocks, and by pinning services, which fetch them.
//
// What a mirror keeps bears a name: the publisher's, the channel's, and which of the
// trees of its versions it is. The name says whose it is and the CID which, so what
// this package has begun it finds again, whatever was lost on this side; and what
// bears another name it leaves alone.
//
// A file in the state directory says for each mirror what it keeps and what is under
// way. It is written before anything is done.
package mirror

import (
	"context"
	"fmt"
	"slices"

	"github.com/qsync/qsync/manifest/unixfs"
)

// Mirror is somebody who keeps versions. Its methods are safe for concurrent use, by
// several processes too.
type Mirror interface {
	// String names it for people.
	fmt.Stringer

	// Mirror returns when the mirror keeps a version, which can take as long as
	// it takes to transfer it. It is idempotent: of a version that is kept it looks
	// whether it still is, and what was cut off goes on. So it is called for each live
	// version, again and again.
	Mirror(ctx context.Context, v Version) error

	// Forget has the mirror drop what it keeps of a channel, other than the given
	// versions. It is idempotent too.
	Forget(ctx context.Context, channel string, keep []Version) error

	// Status is what is known of it, without asking it.
	Status() (Status, error)
}

// Version is a version of a channel, and its trees on IPFS.
type Version struct {
	Channel string
	Version string
	Raw     unixfs.CID // its database; the zero value is none
	Zstd    unixfs.CID // its index and segments; likewise
}

// Tree is one of the trees of a version.
type Tree string

// The trees.
const (
	Raw  Tree = "raw"
	Zstd Tree = "zstd"
)

// Trees are both.
var Trees = []Tree{Raw, Zstd}

// root is one tree of a version.
type root struct {
	Version
	tree Tree
	unixfs.CID
}

// roots are those of the version that a mirror is to keep.
func (v Version) roots(trees []Tree) []root {
	var roots []root
	for tree, c := range map[Tree]unixfs.CID{Raw: v.Raw, Zstd: v.Zstd} {
		if c != (unixfs.CID{}) && slices.Contains(trees, tree) {
			roots = append(roots, root{v, tree, c})
		}
	}
	slices.SortFunc(roots, func(a, b root) int { return slices.Index(Trees, a.tree) - slices.Index(Trees, b.tree) })
	return roots
}

// name is what the tree of a channel is called by a mirror, whatever its version.
func name(publisher, channel string, tree Tree) string {
	return publisher + "/" + channel + "/" + string(tree)
}

// String names the root for people.
func (r root) String() string {
	return fmt.Sprintf("%s %s (%s, %s)", r.Channel, r.Version.Version, r.tree, r.CID)
}

// kept are the CIDs of versions that a mirror is to keep.
func kept(versions []Version, trees []Tree) map[string]bool {
	cids := map[string]bool{}
	for _, v := range versions {
		for _, r := range v.roots(trees) {
			cids[r.CID.String()] = true
		}
	}
	return cids
}

// adviceError is an error with what to do about it.
type adviceError struct {
	error
	hint string
}

func (e *adviceError) Unwrap() error { return e.error }

// Hint says what to do about it.
func (e *adviceError) Hint() string { return e.hint }
