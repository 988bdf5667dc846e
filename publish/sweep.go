package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/qsync/qsync/manifest"
)

// sweep deletes what nobody names. It lists the targets first and reads the
// heads afterwards: what somebody publishes meanwhile is not on the list, or is
// named by a head.
type sweep struct {
	p      *Publisher
	cutoff time.Time // what is not older stays
	dryRun bool

	found    []found         // of each target
	channels map[string]bool // on any target
	seen     map[manifest.Snapshot]bool
}

// found is what a target holds that may be deleted.
type found struct {
	objects  map[object]int64 // old enough → its size in bytes
	versions versions         // none where there are segments
}

func (s *sweep) run(ctx context.Context) ([]Deleted, error) {
	s.channels = map[string]bool{}
	s.seen = map[manifest.Snapshot]bool{}
	if err := s.look(ctx); err != nil {
		return nil, fmt.Errorf("nothing was deleted, because not all that must stay is known: %w", err)
	}
	var all []Deleted
	for i, t := range s.p.Targets {
		deleted, err := s.delete(ctx, t, s.found[i])
		all = append(all, deleted)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// look finds what may be deleted.
func (s *sweep) look(ctx context.Context) error {
	for _, t := range s.p.Targets {
		if err := s.list(ctx, t); err != nil {
			return err
		}
	}
	for _, channel := range slices.Sorted(maps.Keys(s.channels)) {
		for _, t := range s.p.Targets {
			if err := s.spareChannel(ctx, t, channel); err != nil {
				return err
			}
		}
	}
	return nil
}

// list notes the old objects of a target, and its channels. A channel without a head
// there is somebody else's: other tools lay their snapshots out in the same way.
func (s *sweep) list(ctx context.Context, t Target) error {
	f := found{map[object]int64{}, versions{}}
	channels := map[string]bool{}
	_, withFiles := filesOf(t)
	err := t.List(ctx, "", func(have Object) error {
		if o, ok := parseObject(have.Key); ok {
			if have.Modified.Before(s.cutoff) {
				f.objects[o] = have.Size
			}
			return nil
		}
		if channel, version, ok := parseFileKey(have.Key); ok && withFiles {
			f.versions.add(channel, version, have)
			return nil
		}
		channel, name, _ := strings.Cut(have.Key, "/")
		if have.Key == manifest.HeadKey(channel) || have.Key == retiredKey(channel) {
			if err := manifest.CheckChannel(channel); err != nil {
				return fmt.Errorf("%s: %w: remove this %s if it is no channel's", have.Key, err, name)
			}
			channels[channel] = true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", t, err)
	}
	maps.Copy(s.channels, channels)
	maps.DeleteFunc(f.versions, func(v channelVersion, _ *versionFiles) bool { return !channels[v.channel] })
	s.found = append(s.found, f)
	return nil
}

// spareChannel takes what a channel needs off the candidates of all targets: a
// target that lags behind will be asked for what the others' heads name.
func (s *sweep) spareChannel(ctx context.Context, t Target, channel string) error {
	head, err := s.p.head(channel).load(ctx, t)
	if err != nil {
		return err
	}
	list, _, err := loadRetired(ctx, t, channel)
	if err != nil {
		return err
	}
	var live []manifest.Snapshot
	if head.note != nil {
		live = head.value.Snapshots
	}
	for _, r := range s.withinGrace(list) {
		live = append(live, r.Snapshot)
	}
	for _, snapshot := range live {
		for _, f := range s.found {
			delete(f.versions, channelVersion{channel, snapshot.Version})
		}
		if s.seen[snapshot] {
			continue
		}
		if never, err := neverPut(ctx, t, head.value, snapshot); err != nil {
			return err
		} else if never {
			continue
		}
		err := namedObjects(ctx, t, channel, snapshot, func(o object, _ int64) {
			for _, f := range s.found {
				delete(f.objects, o)
			}
		})
		if err != nil {
			return err
		}
		s.seen[snapshot] = true
	}
	return nil
}

// neverPut reports whether a version was not put on a target of files, whose head also
// names those from before it was a target: its manifest is not there, and it is not the
// newest. While others have it, what they hold of it is named by their heads and lists.
func neverPut(ctx context.Context, t Target, head *manifest.Head, snapshot manifest.Snapshot) (bool, error) {
	if _, files := filesOf(t); !files || head != nil && head.Snapshots[0] == snapshot {
		return false, nil
	}
	key := manifest.ManifestKey(snapshot.Manifest)
	_, err := t.Stat(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, fmt.Errorf("stat %s on %s: %w", key, t, err)
	}
	return err != nil, nil
}

func (s *sweep) withinGrace(list []retired) []retired {
	return slices.DeleteFunc(slices.Clone(list), func(r retired) bool { return !r.Dropped.After(s.cutoff) })
}

// delete removes the candidates of a target: first what names others, so that
// nothing ever names what is gone; the retired list last, so that what a broken
// prune leaves is still accounted for.
func (s *sweep) delete(ctx context.Context, t Target, f found) (Deleted, error) {
	done := Deleted{Target: t.String()}
	if err := s.deleteFiles(ctx, t, f.versions, &done); err != nil {
		return done, err
	}
	for _, k := range []kind{manifestObject, indexObject, segmentObject} {
		if err := s.deleteKind(ctx, t, k, f.objects, &done); err != nil {
			return done, err
		}
	}
	if l, ok := t.(Leftovers); ok {
		err := l.Leftovers(ctx, s.cutoff, !s.dryRun, func(o Object) error {
			done.add(o.Key, o.Size)
			return nil
		})
		if err != nil {
			return done, fmt.Errorf("remove leftovers from %s: %w", t, err)
		}
	}
	if s.dryRun {
		return done, nil
	}
	for channel := range s.channels {
		if err := editRetired(ctx, t, channel, s.withinGrace); err != nil {
			return done, err
		}
	}
	return done, nil
}

func (s *sweep) deleteKind(ctx context.Context, t Target, k kind, old map[object]int64, done *Deleted) error {
	var mu sync.Mutex
	return eachObject(ctx, old, k, func(ctx context.Context, o object, size int64) error {
		deleted, err := s.deleteOld(ctx, t, o.key())
		if deleted {
			mu.Lock()
			defer mu.Unlock()
			done.add(o.key(), size)
		}
		return err
	})
}

// deleteOld deletes an object unless somebody has put it again since it was
// listed. Between this look and the deletion is a moment in which a Put would
// be lost; its run then misses the object before it commits.
func (s *sweep) deleteOld(ctx context.Context, t Target, key string) (bool, error) {
	have, err := t.Stat(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("stat %s on %s: %w", key, t, err)
	}
	if !have.Modified.Before(s.cutoff) {
		return false, nil
	}
	if s.dryRun {
		return true, nil
	}
	if err := remove(ctx, t, key); err != nil {
		return false, err
	}
	return true, nil
}

func (d *Deleted) add(key string, size int64) {
	d.Objects = append(d.Objects, Object{Key: key, Size: size})
	d.Bytes += size
}
