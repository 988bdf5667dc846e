package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/qsync/qsync/manifest"
)

// errDamaged says that an object is not the one that its name says.
var errDamaged = errors.New("content does not match its digest")

// kind is a class of immutable objects.
type kind uint8

const (
	manifestObject kind = iota
	indexObject
	segmentObject
)

var prefixOf = [...]string{
	manifestObject: "manifests/",
	indexObject:    "indexes/",
	segmentObject:  "segments/",
}

var keyOf = [...]func(manifest.Digest) string{
	manifestObject: manifest.ManifestKey,
	indexObject:    manifest.IndexKey,
	segmentObject:  manifest.SegmentKey,
}

// object is the name of an immutable object in little memory: a target holds
// them by the hundred thousand.
type object struct {
	kind   kind
	digest manifest.Digest
}

func (o object) key() string { return keyOf[o.kind](o.digest) }

// parseObject tells the immutable objects of the format from all other keys.
func parseObject(key string) (object, bool) {
	var o object
	name, _, _ := strings.Cut(path.Base(key), ".")
	if len(name) != 2*manifest.DigestSize {
		return o, false
	}
	if _, err := hex.Decode(o.digest[:], []byte(name)); err != nil {
		return o, false
	}
	for k := range keyOf {
		if o.kind = kind(k); o.key() == key {
			return o, true
		}
	}
	return o, false
}

// put stores an object, or renews the one that is there.
func put(ctx context.Context, t Target, o object, body []byte) error {
	if err := t.Put(ctx, o.key(), body); err != nil {
		return fmt.Errorf("put %s of %d bytes on %s: %w", o.key(), len(body), t, err)
	}
	return nil
}

// replace stores an object where there is a broken one.
func replace(ctx context.Context, t Target, o object, body []byte) error {
	if err := t.Replace(ctx, o.key(), body); err != nil {
		return fmt.Errorf("replace %s by %d bytes on %s: %w", o.key(), len(body), t, err)
	}
	return nil
}

// readObject reads an object wholly and checks it.
func readObject(ctx context.Context, t Target, o object, size int64) ([]byte, error) {
	body, err := t.Read(ctx, o.key(), 0, size)
	if err == nil && manifest.Sum(body) != o.digest {
		err = errDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("read %s from %s: %w", o.key(), t, err)
	}
	return body, nil
}

// readPiece is how much of an object is in memory while it is checked only.
const readPiece = 4 << 20

// checkObject reads an object wholly and checks it, without keeping it.
func checkObject(ctx context.Context, t Target, o object, size int64) error {
	hash := sha256.New()
	for at := int64(0); at < size; at += readPiece {
		piece, err := t.Read(ctx, o.key(), at, min(readPiece, size-at))
		if err != nil {
			return fmt.Errorf("read %s from %s: %w", o.key(), t, err)
		}
		hash.Write(piece)
	}
	if manifest.Digest(hash.Sum(nil)) != o.digest {
		return fmt.Errorf("read %s from %s: %w", o.key(), t, errDamaged)
	}
	return nil
}

// readManifest reads the manifest that a head of the channel names.
func readManifest(ctx context.Context, t Target, channel string, s manifest.Snapshot) (*manifest.Manifest, error) {
	body, err := readObject(ctx, t, object{manifestObject, s.Manifest}, s.Size)
	if err != nil {
		return nil, err
	}
	return parseManifest(t, channel, s, body)
}

// readIndex reads the index of a manifest.
func readIndex(ctx context.Context, t Target, m *manifest.Manifest) (*manifest.Index, error) {
	body, err := readObject(ctx, t, object{indexObject, m.Index.Digest}, m.Index.Size)
	if err != nil {
		return nil, err
	}
	return parseIndex(t, m, body)
}

// segments calls fn for every segment of the index with its size in bytes. One
// that several files share comes several times.
func segments(x *manifest.Index, fn func(d manifest.Digest, size int64)) {
	for i := range x.Files {
		f := &x.Files[i]
		for s := range f.SegmentCount() {
			first, n := f.SegmentSpan(s)
			var size int64
			for _, frame := range f.Frames[first : first+n] {
				size += int64(frame)
			}
			fn(f.Segment(s), size)
		}
	}
}

// namedObjects calls fn for every object that a snapshot consists of.
func namedObjects(ctx context.Context, t Target, channel string, s manifest.Snapshot, fn func(o object, size int64)) error {
	m, err := readManifest(ctx, t, channel, s)
	if err != nil {
		return err
	}
	x, err := readIndex(ctx, t, m)
	if err != nil {
		return err
	}
	fn(object{manifestObject, s.Manifest}, s.Size)
	fn(object{indexObject, m.Index.Digest}, m.Index.Size)
	segments(x, func(d manifest.Digest, size int64) { fn(object{segmentObject, d}, size) })
	return nil
}
