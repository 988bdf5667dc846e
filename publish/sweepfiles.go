package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// channelVersion is a version of a channel.
type channelVersion struct{ channel, version string }

// versions are what a target of files holds of versions that may be deleted.
type versions map[channelVersion]*versionFiles

type versionFiles struct {
	objects []Object
	newest  time.Time // that one of them was put
}

func (v versions) add(channel, version string, o Object) {
	name := channelVersion{channel, version}
	files := v[name]
	if files == nil {
		files = &versionFiles{}
		v[name] = files
	}
	files.objects = append(files.objects, o)
	if o.Modified.After(files.newest) {
		files.newest = o.Modified
	}
}

// deleteFiles removes the versions that are named by nobody, as a whole: first what
// says that one is whole. A version that something was put to lately is being
// published.
func (s *sweep) deleteFiles(ctx context.Context, t Target, old versions, done *Deleted) error {
	for _, files := range old {
		if !files.newest.Before(s.cutoff) {
			continue
		}
		var rest []Object
		for _, o := range files.objects {
			if !strings.HasSuffix(o.Key, metaSuffix) && !strings.HasSuffix(o.Key, "/"+filesList) {
				rest = append(rest, o)
			} else if err := s.deleteFile(ctx, t, o); err != nil {
				return err
			} else {
				done.add(o.Key, o.Size)
			}
		}
		if err := s.deleteAll(ctx, t, rest, done); err != nil {
			return err
		}
	}
	return nil
}

func (s *sweep) deleteAll(ctx context.Context, t Target, all []Object, done *Deleted) error {
	var mu sync.Mutex
	return forEach(ctx, all, func(ctx context.Context, o Object) error {
		err := s.deleteFile(ctx, t, o)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			done.add(o.Key, o.Size)
		}
		return err
	})
}

func (s *sweep) deleteFile(ctx context.Context, t Target, o Object) error {
	if s.dryRun {
		return nil
	}
	return remove(ctx, t, o.Key)
}

// forEach calls fn for the objects, several at a time, until one fails.
func forEach(parent context.Context, all []Object, fn func(ctx context.Context, o Object) error) error {
	group, ctx := errgroup.WithContext(parent)
	group.SetLimit(transfers)
	for _, o := range all {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return fn(ctx, o) })
	}
	return errors.Join(group.Wait(), parent.Err())
}

func remove(ctx context.Context, t Target, key string) error {
	if err := t.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete %s from %s: %w", key, t, err)
	}
	return nil
}
