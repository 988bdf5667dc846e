package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/status"
)

// needed is a suspect that some version needs.
type needed struct {
	size     int64    // bytes
	versions []string // channel, a space, version
}

// settle looks again at the suspects of a target, with the heads as they are now: what
// no version needs any more was pruned. What is broken is put on record, and then mended
// if possible: at the pace of the pass, people would fetch it in vain for days.
func (s *scrubbing) settle(ctx context.Context, t Target) error {
	if len(s.suspects) == 0 {
		return nil
	}
	pace := s.pace.Limit()
	s.pace.SetLimit(s.fastest())
	defer s.pace.SetLimit(pace)
	objects, others := map[object]*needed{}, map[string]bool{}
	for _, key := range s.suspects {
		if o, ok := parseObject(key); ok {
			objects[o] = &needed{}
		} else {
			others[key] = true
		}
	}
	versions, err := s.versionsOn(ctx, t, s.Channels)
	if err != nil {
		return err
	}
	blind := false // of some version it is not known what it needs
	for _, v := range versions {
		known, err := s.findNeeded(ctx, t, v, objects, others)
		if err != nil {
			return err
		}
		blind = blind || !known
	}
	for o, n := range objects {
		if len(n.versions) > 0 {
			err = s.settleObject(ctx, t, o, n)
		} else if !blind {
			s.foundWhole(t, o.key())
		}
		if err != nil {
			return err
		}
	}
	for key := range others {
		if !blind {
			s.foundWhole(t, key)
		}
	}
	s.suspects = nil
	return s.mend(ctx)
}

// findNeeded says of the objects which a version needs, and settles those of others
// that are its files. It reports whether that could be found out.
func (s *scrubbing) findNeeded(ctx context.Context, t Target, v *scrubbed, objects map[object]*needed, others map[string]bool) (known bool, err error) {
	need := func(o object, size int64) {
		if n := objects[o]; n != nil && (len(n.versions) == 0 || n.versions[len(n.versions)-1] != v.String()) {
			n.size, n.versions = size, append(n.versions, v.String())
		}
	}
	need(object{manifestObject, v.snapshot.Manifest}, v.snapshot.Size)
	if v.manifest == nil {
		return false, nil
	}
	need(object{indexObject, v.manifest.Index.Digest}, v.manifest.Index.Size)
	_, isFiles := filesOf(t)
	if !isFiles && !hasKind(objects, segmentObject) || isFiles && len(others) == 0 {
		return true, nil
	}
	x, err := s.index(ctx, v)
	if err != nil || x == nil {
		return false, err
	}
	if !isFiles {
		segments(x, func(d manifest.Digest, size int64) { need(object{segmentObject, d}, size) })
		return true, nil
	}
	return true, s.settleFiles(ctx, t, v, x, others)
}

func hasKind(objects map[object]*needed, k kind) bool {
	for o := range objects {
		if o.kind == k {
			return true
		}
	}
	return false
}

func (s *scrubbing) settleObject(ctx context.Context, t Target, o object, n *needed) error {
	wrong, err := s.objectWrong(ctx, t, o, n.size)
	if err != nil {
		return err
	}
	if wrong == "" {
		s.foundWhole(t, o.key())
		return nil
	}
	s.foundBroken(ctx, t, o.key(), wrong, n.versions, func() (from string, err error) {
		return s.mendObject(ctx, t, o, n.size)
	})
	return nil
}

// mendObject replaces an object by one of another target that is whole. It returns
// which that is, "" if there is none.
func (s *scrubbing) mendObject(ctx context.Context, t Target, o object, size int64) (from string, err error) {
	for _, other := range s.p.holding(o.kind) {
		if other.String() == t.String() {
			continue
		}
		if err := s.wait(ctx, size); err != nil {
			return "", err
		}
		body, err := readObject(ctx, other, o, size)
		if err != nil {
			if !isBroken(err) {
				s.log.Warn("a target cannot be asked for a copy of what is broken on another one", "target", other.String(), "key", o.key(), "error", err)
			}
			continue
		}
		if err := t.Replace(ctx, o.key(), body); err != nil {
			return "", fmt.Errorf("replace it by that of %s: %w", other, err)
		}
		wrong, err := s.objectWrong(ctx, t, o, size)
		if err == nil && wrong != "" {
			err = errors.New(wrong)
		}
		if err != nil {
			return "", fmt.Errorf("replaced by that of %s: %w", other, err)
		}
		return other.String(), nil
	}
	return "", nil
}

// foundWhole takes note that nothing is wrong with an object, or that nobody needs it.
// What was broken before was mended by a run, or by a scrub that was cut off.
func (s *scrubbing) foundWhole(t Target, key string) {
	if d, ok := s.known[t.String()+"\x00"+key]; ok && mayBeCached(d.Wrong) {
		s.p.swapped[key] = true
	}
	s.whole = append(s.whole, status.Damage{Target: t.String(), Key: key})
}

// mend is how something broken is mended.
type mend struct {
	damage status.Damage
	do     func() (from string, err error) // "" if no target has it whole
}

// foundBroken takes note of something that is to be mended.
func (s *scrubbing) foundBroken(ctx context.Context, t Target, key, wrong string, versions []string, do func() (from string, err error)) {
	d := status.Damage{Target: t.String(), Key: key, Wrong: wrong, Since: s.p.now().UTC(), Versions: versions}
	if have, err := t.Stat(ctx, key); err == nil {
		d.Size, d.Modified = have.Size, have.Modified.UTC()
	}
	s.broken = append(s.broken, d)
	s.mends = append(s.mends, mend{d, do})
}

// mendedInterval is how late caches, and those who look at the record, know at most
// what is mended while there is more to mend.
const mendedInterval = time.Minute

// mend mends what was found to be broken, once that is on record: it may take hours. That
// something cannot be mended is no reason to end the pass.
func (s *scrubbing) mend(ctx context.Context) error {
	if len(s.mends) == 0 {
		return nil
	}
	if err := s.save(ctx); err != nil {
		return err
	}
	for _, m := range s.mends {
		d := m.damage
		about := []any{"target", d.Target, "key", d.Key, "wrong", d.Wrong, "hits", strings.Join(d.Versions, ", ")}
		from, err := m.do()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			d.Wrong += "; it cannot be mended: " + err.Error()
			s.log.Error("a published object is broken, and cannot be mended", append(about, "error", err)...)
		case from == "":
			s.log.Error("a published object is broken, and no target has it whole", about...)
		default:
			d.Mended = s.p.now().UTC()
			if mayBeCached(d.Wrong) {
				s.p.swapped[d.Key] = true
			}
			s.log.Warn("a published object was broken and is mended", append(about, "from", from)...)
		}
		s.broken = append(s.broken, d)
		if s.p.now().Sub(s.saved) >= mendedInterval {
			if err := s.save(ctx); err != nil {
				return err
			}
		}
	}
	s.mends = nil
	return s.save(ctx)
}

// mayBeCached tells what is wrong with an object that caches may have.
func mayBeCached(wrong string) bool { return !strings.HasPrefix(wrong, wrongMissing) }

// maxInvalidated is how many objects caches are told of at a time.
const maxInvalidated = 1000

// invalidate makes the caches forget what was mended: they keep for ever what is named by
// its content, and may have the broken one. It returns the keys that one was not told.
func (s *scrubbing) invalidate(ctx context.Context) (untold map[string]bool) {
	all := slices.Sorted(maps.Keys(s.p.swapped))
	clear(s.p.swapped)
	untold = map[string]bool{}
	for keys := range slices.Chunk(all, maxInvalidated) {
		for _, c := range s.p.Caches {
			err := c.Invalidate(ctx, keys)
			if err == nil {
				continue
			}
			for _, key := range keys {
				untold[key] = true
			}
			if ctx.Err() == nil {
				s.log.Error("what was broken is mended, but a cache may have it still: it is told again", "cache", c.String(), "keys", keys, "error", err)
			}
		}
	}
	return untold
}
