package publish

import (
	"context"

	"github.com/qsync/qsync/manifest"
)

// Addresses knows how versions are called where objects are named by what they
// hold, and not by a path: on IPFS.
type Addresses interface {
	// Segment takes note of a segment, while its bytes are at hand. Safe for
	// concurrent use.
	Segment(digest manifest.Digest, body []byte) error
	// Version returns the roots of a version, which its manifest names. Segments
	// that it has not been told of, in this run or an earlier one, it may read.
	Version(ctx context.Context, x *manifest.Index, index manifest.Digest, indexObject []byte) (*manifest.IPFS, error)
}
