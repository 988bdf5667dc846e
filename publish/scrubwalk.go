package publish

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
)

// scrubbed is a version that the head on a target names.
type scrubbed struct {
	channel  string
	snapshot manifest.Snapshot
	manifest *manifest.Manifest // nil if no target has it whole
}

func (v *scrubbed) String() string { return v.channel + " " + v.snapshot.Version }

// isBroken tells what an object is like from what only its reading is like: a target
// that is out of reach, or lets nobody in, says nothing of its objects.
func isBroken(err error) bool {
	for _, is := range []error{errDamaged, ErrNotFound, io.ErrUnexpectedEOF, syscall.EIO, syscall.EUCLEAN, syscall.EBADMSG} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// versionsOn are the versions that the target's heads of channels name, in the order of
// their names. A head that is not ours names nothing, and is an error that wraps
// trust.ErrUntrusted.
func (s *scrubbing) versionsOn(ctx context.Context, t Target, channels []string) (all []*scrubbed, err error) {
	_, files := filesOf(t)
	for _, channel := range channels {
		head, err := s.p.head(channel).load(ctx, t)
		if err != nil {
			return nil, err
		}
		if head.note == nil {
			continue
		}
		for _, snapshot := range head.value.Snapshots {
			if files && snapshot != head.value.Snapshots[0] {
				holds, err := holdsSome(ctx, t, channel, snapshot)
				if err != nil {
					return nil, err
				}
				if !holds {
					continue // it is from before this was a target
				}
			}
			v := &scrubbed{channel: channel, snapshot: snapshot}
			body, err := s.readAnywhere(ctx, object{manifestObject, snapshot.Manifest}, snapshot.Size)
			if err == nil {
				v.manifest, err = parseManifest(t, channel, snapshot, body)
			}
			if err != nil && !isBroken(err) {
				return nil, err
			}
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b *scrubbed) int {
		return cmp.Or(cmp.Compare(a.channel, b.channel), cmp.Compare(a.snapshot.Version, b.snapshot.Version))
	})
	return all, nil
}

// holdsSome reports whether a version was put on a target of files.
func holdsSome(ctx context.Context, t Target, channel string, s manifest.Snapshot) (bool, error) {
	for _, key := range []string{manifest.VersionMetaKey(channel, s.Version), manifest.ManifestKey(s.Manifest), listKey(channel, s.Version)} {
		_, err := t.Stat(ctx, key)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return false, fmt.Errorf("stat %s on %s: %w", key, t, err)
		}
	}
	return false, nil
}

// index reads the version's index, nil if no target has it whole.
func (s *scrubbing) index(ctx context.Context, v *scrubbed) (*manifest.Index, error) {
	if v.manifest == nil {
		return nil, nil
	}
	body, err := s.readAnywhere(ctx, object{indexObject, v.manifest.Index.Digest}, v.manifest.Index.Size)
	if isBroken(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x, err := manifest.ReadIndex(bytes.NewReader(body), v.manifest.Index.RawSize)
	if err == nil {
		err = v.manifest.CheckIndex(x)
	}
	if err != nil {
		return nil, fmt.Errorf("parse the index of %s: %w", v, err)
	}
	return x, nil
}

// readAnywhere reads an object from the first target that has it whole. The error
// is that of an object only if it is so on all targets.
func (s *scrubbing) readAnywhere(ctx context.Context, o object, size int64) ([]byte, error) {
	if err := s.wait(ctx, size); err != nil {
		return nil, err
	}
	var last error
	for _, t := range s.p.holding(o.kind) {
		body, err := readObject(ctx, t, o, size)
		if err == nil {
			return body, nil
		}
		if last == nil || isBroken(last) {
			last = err
		}
	}
	return nil, last
}

// namedObject is what a head leads to.
type namedObject struct {
	object
	size int64 // bytes
}

func compareObjects(a, b object) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), bytes.Compare(a.digest[:], b.digest[:]))
}

// namedMemo is the objects of some versions: 48 bytes for each segment of them.
type namedMemo struct {
	versions string
	objects  []namedObject
}

// named are the objects of the versions that belong on a target, in order.
func (s *scrubbing) named(ctx context.Context, t Target, versions []*scrubbed) ([]namedObject, error) {
	_, files := filesOf(t)
	var name strings.Builder
	fmt.Fprintf(&name, "%t\n", files)
	known := true
	for _, v := range versions {
		fmt.Fprintf(&name, "%s %s\n", v, v.snapshot.Manifest)
		known = known && v.manifest != nil
	}
	if known && s.memo.versions == name.String() {
		return s.memo.objects, nil
	}
	var all []namedObject
	for _, v := range versions {
		all = append(all, namedObject{object{manifestObject, v.snapshot.Manifest}, v.snapshot.Size})
		if v.manifest == nil {
			continue
		}
		all = append(all, namedObject{object{indexObject, v.manifest.Index.Digest}, v.manifest.Index.Size})
		if files {
			continue
		}
		x, err := s.index(ctx, v)
		if err != nil {
			return nil, err
		}
		if x == nil {
			known = false
			continue
		}
		segments(x, func(d manifest.Digest, size int64) { all = append(all, namedObject{object{segmentObject, d}, size}) })
		all = sortObjects(all)
	}
	all = slices.Clip(sortObjects(all))
	if known {
		s.memo = namedMemo{name.String(), all}
	}
	return all, nil
}

func sortObjects(all []namedObject) []namedObject {
	slices.SortFunc(all, func(a, b namedObject) int { return compareObjects(a.object, b.object) })
	return slices.CompactFunc(all, func(a, b namedObject) bool { return a.object == b.object })
}

func findObject(all []namedObject, o object) (i int, ok bool) {
	return slices.BinarySearchFunc(all, o, func(n namedObject, o object) int { return compareObjects(n.object, o) })
}

// isUntrusted reports whether a head, or its like, is not ours.
func isUntrusted(err error) bool { return errors.Is(err, trust.ErrUntrusted) }
