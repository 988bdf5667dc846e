package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qsync/qsync/manifest"
)

// claimKey is the object that says which run puts the files of a version. It lies
// beside them, where no reader looks, and is the first that is there.
func claimKey(channel, version string) string { return channel + "/" + version + claimSuffix }

const claimSuffix = ".claim.txt"

// claim is a version on a target of files that is this run's to put.
type claim struct {
	Target
	version string
}

// claim makes a version on a target this run's. Files are named by their version, so
// two agents that cut in the same second would write over each other's, and the one
// that loses the head over those of a version that is published. A claim that a dead
// run left stands until the version is pruned: the next run has a later version.
func (r *Run) claim(ctx context.Context, t Target, version string) error {
	key, mine := claimKey(r.channel, version), r.name+"\n"
	err := t.Swap(ctx, key, "", []byte(mine))
	if errors.Is(err, ErrConflict) {
		have, _, loadErr := t.Load(ctx, key)
		if loadErr == nil && string(have) != mine {
			return fmt.Errorf("%w: another agent puts version %s on %s, or has begun to", ErrConflict, version, t)
		}
		err = loadErr // it may be from an earlier try of this run
	}
	if err != nil {
		return fmt.Errorf("claim %s on %s: %w", key, t, err)
	}
	r.claims = append(r.claims, claim{t, version})
	return nil
}

// discardTime bounds what is done after a failure, which may be a cancel.
const discardTime = time.Minute

// discardFiles deletes what this run has put on targets of files: no other run can
// use it, and runs that fail every night would fill the bucket. The claim stays, for
// a copy that was asked of the store may still come to its end. What cannot be
// deleted is left to Prune.
func (r *Run) discardFiles(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTime)
	defer cancel()
	for _, c := range r.claims {
		if err := c.discard(ctx, r.channel); err != nil {
			r.p.log().Warn("files of a run that failed stay until they are pruned",
				"target", c.String(), "version", c.version, "error", err)
		}
	}
	r.claims, r.files = nil, ""
}

// discard deletes the version, first what says that it is whole.
func (c claim) discard(ctx context.Context, channel string) error {
	if err := remove(ctx, c, manifest.VersionMetaKey(channel, c.version)); err != nil {
		return err
	}
	var all []Object
	prefix := filesPrefix(channel, c.version)
	err := c.List(ctx, prefix, func(o Object) error {
		all = append(all, o)
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %s on %s: %w", prefix, c, err)
	}
	return forEach(ctx, all, func(ctx context.Context, o Object) error { return remove(ctx, c, o.Key) })
}
