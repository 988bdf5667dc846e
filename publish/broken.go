package publish

import (
	"context"
	"slices"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/status"
)

// brokenObjects are what a [Scrub] has found to be broken and could not mend, by target
// and key. What has the right size is taken for whole otherwise.
type brokenObjects map[string]status.Damage

func (b brokenObjects) has(t Target, key string) bool {
	_, is := b[t.String()+"\x00"+key]
	return is
}

// knownBroken reads what is on record as broken. A record that cannot be read keeps
// nobody from publishing.
func (p *Publisher) knownBroken() brokenObjects {
	all, err := status.ScrubsIn(p.StateDir).Damage()
	if err != nil {
		p.log().Warn("what is broken on the targets is not known", "error", err)
	}
	b := brokenObjects{}
	for _, d := range all {
		if d.Mended.IsZero() {
			b[d.Target+"\x00"+d.Key] = d
		}
	}
	return b
}

// replaceBroken stores an object where there is a broken one, which caches may have.
func (r *Run) replaceBroken(ctx context.Context, t Target, o object, body []byte) error {
	err := replace(ctx, t, o, body)
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.broken[t.String()+"\x00"+o.key()]
	if mayBeCached(d.Wrong) {
		r.p.swapped[o.key()] = true // also after an error: it may be another one
	}
	if err == nil {
		r.replaced = append(r.replaced, d)
	}
	return err
}

// noteMended puts on record that what was replaced is whole. A record that cannot be
// written has it replaced again.
func (r *Run) noteMended() {
	if len(r.replaced) == 0 {
		return
	}
	if err := status.ScrubsIn(r.p.StateDir).Mend(r.replaced, r.p.now()); err != nil {
		r.p.log().Warn("what was broken is stored anew, and stays on record as broken", "error", err)
	}
}

// loadPrevious loads the newest version from the first target on which its manifest and
// index are not known to be broken. If they are on all, there is no previous version to
// build on: all is put like new.
func (r *Run) loadPrevious(ctx context.Context) error {
	r.broken = r.p.knownBroken()
	var last error
	for _, t := range r.p.Targets {
		m, err := readManifest(ctx, t, r.channel, *r.newest)
		var x *manifest.Index
		if err == nil {
			x, err = readIndex(ctx, t, m)
		}
		if err == nil {
			r.manifest, r.index = m, r.whole(x)
			return nil
		}
		known := r.broken.has(t, manifest.ManifestKey(r.newest.Manifest)) || m != nil && r.broken.has(t, manifest.IndexKey(m.Index.Digest))
		if !isBroken(err) || !known {
			return err
		}
		last = err
	}
	r.p.log().Error("the version before is broken on all targets, so all of this one is stored anew",
		"version", r.newest.Version, "error", last)
	return nil
}

// whole is an index without the files of which a target has something broken.
func (r *Run) whole(x *manifest.Index) *manifest.Index {
	if len(r.broken) == 0 {
		return x
	}
	isBroken := func(f manifest.File) bool {
		for _, t := range r.p.withFiles() {
			if r.broken.has(t, manifest.RawFileKey(r.channel, r.newest.Version, f.Path)) {
				return true
			}
		}
		for _, t := range r.p.withSegments() {
			for d := range slices.Chunk(f.Segments, manifest.DigestSize) {
				if r.broken.has(t, manifest.SegmentKey(manifest.Digest(d))) {
					return true
				}
			}
		}
		return false
	}
	kept := &manifest.Index{Files: slices.DeleteFunc(slices.Clone(x.Files), isBroken)}
	if n := len(x.Files) - len(kept.Files); n > 0 {
		r.p.log().Warn("files are stored anew, since what the targets have of them is broken", "files", n)
	}
	return kept
}
