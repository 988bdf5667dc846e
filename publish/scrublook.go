package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/status"
)

// maxSuspects bounds the memory for what is to be looked at again.
const maxSuspects = 1 << 16

// suspect has an object on the target at hand looked at again.
func (s *scrubbing) suspect(ctx context.Context, t Target, key string) error {
	s.suspects = append(s.suspects, key)
	if len(s.suspects) < maxSuspects {
		return nil
	}
	return s.settle(ctx, t)
}

// look sees whether all that belongs on a target is there, with the right size.
func (s *scrubbing) look(ctx context.Context, t Target) error {
	versions, err := s.versionsOn(ctx, t, s.looked())
	if err != nil {
		return err
	}
	objects, err := s.named(ctx, t, versions)
	if err != nil {
		return err
	}
	there := make([]bool, len(objects))
	for k, prefix := range prefixOf {
		if len(objects) == 0 || kind(k) == segmentObject && objects[len(objects)-1].kind != segmentObject {
			continue
		}
		err := t.List(ctx, prefix, func(have Object) error {
			if o, ok := parseObject(have.Key); ok {
				if i, named := findObject(objects, o); named && objects[i].size == have.Size {
					there[i] = true
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
	}
	for i, is := range there {
		if !is {
			if err := s.suspect(ctx, t, objects[i].key()); err != nil {
				return err
			}
		}
	}
	if _, files := filesOf(t); files {
		for _, v := range versions {
			if err := s.lookAtFiles(ctx, t, v); err != nil {
				return err
			}
		}
	}
	return s.settle(ctx, t)
}

// lookAtHeads sees whether the heads on a target, and its catalog, are ours. What is
// not may be a forgery, and is left as it is.
func (s *scrubbing) lookAtHeads(ctx context.Context, t Target) error {
	errs := []error{lookAtPointer(ctx, s, t, s.p.catalog(), nil)}
	for _, channel := range s.Channels {
		errs = append(errs, lookAtPointer(ctx, s, t, s.p.head(channel), []string{channel}))
	}
	return errors.Join(errs...)
}

func lookAtPointer[T signedText](ctx context.Context, s *scrubbing, t Target, k *pointer[T], channels []string) error {
	d := status.Damage{Target: t.String(), Key: k.key, Since: s.p.now().UTC(), Versions: channels}
	_, err := k.load(ctx, t)
	if err == nil {
		s.whole = append(s.whole, d)
	}
	if !isUntrusted(err) {
		return err
	}
	d.Wrong = "it is not signed by this publisher's key"
	if k.isOurs(ctx, s.p.Targets) {
		d.Wrong += ", and that of another target is: delete it here, and the next run writes it"
	} else {
		d.Wrong += ", on no target: the key may have been changed; look at the configured one before anything else"
	}
	if have, err := t.Stat(ctx, k.key); err == nil {
		d.Size, d.Modified = have.Size, have.Modified.UTC()
	}
	s.broken = append(s.broken, d)
	return err
}

// isOurs reports whether some target has one that is ours for certain.
func (k *pointer[T]) isOurs(ctx context.Context, targets []Target) bool {
	return slices.ContainsFunc(targets, func(t Target) bool {
		s, err := k.load(ctx, t)
		return err == nil && s.note != nil
	})
}

// lookAtFiles sees whether the files of a version are there, with the right size, and
// what is said of it.
func (s *scrubbing) lookAtFiles(ctx context.Context, t Target, v *scrubbed) error {
	x, err := s.index(ctx, v)
	if err != nil || x == nil {
		return err
	}
	there := make([]bool, len(x.Files))
	prefix := filesPrefix(v.channel, v.snapshot.Version)
	err = t.List(ctx, prefix, func(have Object) error {
		if i, ok := x.Find(strings.TrimPrefix(have.Key, prefix)); ok && x.Files[i].Size == have.Size {
			there[i] = true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	for i, is := range there {
		if !is {
			if err := s.suspect(ctx, t, manifest.RawFileKey(v.channel, v.snapshot.Version, x.Files[i].Path)); err != nil {
				return err
			}
		}
	}
	for key, want := range textsOf(v, x) {
		wrong, err := s.textWrong(ctx, t, key, want)
		if err == nil && wrong != "" {
			err = s.suspect(ctx, t, key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// textsOf are the small objects of a version of files, which follow from its index.
func textsOf(v *scrubbed, x *manifest.Index) map[string][]byte {
	return map[string][]byte{
		listKey(v.channel, v.snapshot.Version):                 listText(x),
		manifest.VersionMetaKey(v.channel, v.snapshot.Version): metaOf(v.manifest).Marshal(),
	}
}

// What is wrong with an object.
const (
	wrongMissing = "it is missing"
	wrongContent = "its content is not what was published"
)

// whatIsWrong is what an error says of an object, "" if nothing.
func whatIsWrong(err error) (string, error) {
	switch {
	case err == nil:
		return "", nil
	case !isBroken(err):
		return "", err
	case errors.Is(err, ErrNotFound):
		return wrongMissing, nil
	case errors.Is(err, errDamaged):
		return wrongContent, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early", nil
	}
	return "it cannot be read: " + err.Error(), nil
}

// sizeWrong is what is wrong with an object as far as its size says.
func sizeWrong(ctx context.Context, t Target, key string, size int64) (wrong string, err error) {
	have, err := t.Stat(ctx, key)
	if err == nil && have.Size != size {
		return fmt.Sprintf("it has %d bytes, not %d", have.Size, size), nil
	}
	return whatIsWrong(err)
}

// textWrong is what is wrong with an object that is to have some text.
func (s *scrubbing) textWrong(ctx context.Context, t Target, key string, want []byte) (wrong string, err error) {
	if wrong, err := sizeWrong(ctx, t, key, int64(len(want))); wrong != "" || err != nil {
		return wrong, err
	}
	have, err := t.Read(ctx, key, 0, int64(len(want)))
	if err == nil && !bytes.Equal(have, want) {
		err = errDamaged
	}
	return whatIsWrong(err)
}

// objectWrong is what is wrong with an object that is named by its digest.
func (s *scrubbing) objectWrong(ctx context.Context, t Target, o object, size int64) (wrong string, err error) {
	if wrong, err := sizeWrong(ctx, t, o.key(), size); wrong != "" || err != nil {
		return wrong, err
	}
	return s.contentWrong(ctx, t, o, size)
}
