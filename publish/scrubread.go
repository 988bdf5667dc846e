package publish

import (
	"cmp"
	"context"
	"crypto/sha256"
	"strings"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/status"
)

// read reads all that belongs on a target from where the pass is, until it is time
// to look again.
func (s *scrubbing) read(ctx context.Context, t Target) error {
	at := s.pass.Cursors[t.String()]
	if at.Done {
		return nil
	}
	versions, err := s.versionsOn(ctx, t, s.looked())
	if err != nil {
		return err
	}
	objects, err := s.named(ctx, t, versions)
	if err != nil {
		return err
	}
	s.at = at
	if done, err := s.readObjects(ctx, t, behind(objects, at)); err != nil || !done {
		return err
	}
	_, files := filesOf(t)
	for _, v := range versions {
		if !files || isBehind(at, v) {
			continue
		}
		if done, err := s.readFiles(ctx, t, v, at); err != nil || !done {
			return err
		}
	}
	return s.advance(ctx, t, status.Cursor{Done: true}, true)
}

// advance takes note of how far the pass is on a target, and puts it on record now
// and then: what was found on the way first.
func (s *scrubbing) advance(ctx context.Context, t Target, to status.Cursor, now bool) error {
	to.Objects, to.Bytes = s.at.Objects, s.at.Bytes
	if !to.Done && to.Offset == 0 {
		to.Objects++ // it is through with one
	}
	s.at = to
	if s.Progress != nil {
		s.Progress(s.pass.Read, max(s.pass.Total, s.pass.Read))
	}
	if !now && s.p.now().Sub(s.saved) < saveInterval {
		if len(s.suspects) == 0 {
			s.pass.Cursors[t.String()] = to
		}
		return nil
	}
	return s.settleAndSave(ctx, t)
}

func (s *scrubbing) settleAndSave(ctx context.Context, t Target) error {
	if err := s.settle(ctx, t); err != nil {
		return err
	}
	s.pass.Cursors[t.String()] = s.at
	return s.save(ctx)
}

// over reports whether it is time to look again.
func (s *scrubbing) over() bool { return !s.until.IsZero() && s.p.now().After(s.until) }

// behind are the objects that a pass has not come to yet.
func behind(objects []namedObject, at status.Cursor) []namedObject {
	if at.Key == "" {
		return objects
	}
	o, ok := parseObject(at.Key)
	if !ok {
		return nil // it is at the files, which come after them
	}
	i, found := findObject(objects, o)
	if found {
		i++
	}
	return objects[i:]
}

// isBehind reports whether a pass is through with a version.
func isBehind(at status.Cursor, v *scrubbed) bool {
	channel, version, ok := parseFileKey(at.Key)
	return ok && cmp.Or(cmp.Compare(v.channel, channel), cmp.Compare(v.snapshot.Version, version)) < 0
}

// left is how many bytes a pass still has to read on a target, at most.
func (s *scrubbing) left(ctx context.Context, t Target) (n int64, err error) {
	at := s.pass.Cursors[t.String()]
	if at.Done {
		return 0, nil
	}
	versions, err := s.versionsOn(ctx, t, s.looked())
	if err != nil {
		return 0, err
	}
	objects, err := s.named(ctx, t, versions)
	if err != nil {
		return 0, err
	}
	for _, o := range behind(objects, at) {
		n += o.size
	}
	if _, files := filesOf(t); files {
		for _, v := range versions {
			if v.manifest == nil || isBehind(at, v) {
				continue
			}
			read, err := s.readOf(ctx, v, at)
			if err != nil {
				return 0, err
			}
			n += v.manifest.RawSize - read
		}
	}
	return n, nil
}

// readOf is how many bytes of a version's files a pass has read.
func (s *scrubbing) readOf(ctx context.Context, v *scrubbed, at status.Cursor) (n int64, err error) {
	path, within := strings.CutPrefix(at.Key, filesPrefix(v.channel, v.snapshot.Version))
	if !within {
		return 0, nil
	}
	x, err := s.index(ctx, v)
	if err != nil || x == nil {
		return 0, err
	}
	for i := range x.Files {
		if f := &x.Files[i]; f.Path < path || f.Path == path && at.Offset == 0 {
			n += f.Size
		}
	}
	return n + at.Offset, nil
}

func (s *scrubbing) readObjects(ctx context.Context, t Target, objects []namedObject) (done bool, err error) {
	for _, o := range objects {
		if s.over() {
			return false, s.settleAndSave(ctx, t)
		}
		wrong, err := s.contentWrong(ctx, t, o.object, o.size)
		if err != nil {
			return false, err
		}
		if wrong != "" {
			if err := s.suspect(ctx, t, o.key()); err != nil {
				return false, err
			}
		}
		if err := s.advance(ctx, t, status.Cursor{Key: o.key()}, false); err != nil {
			return false, err
		}
	}
	return true, nil
}

// contentWrong is what is wrong with the content of an object.
func (s *scrubbing) contentWrong(ctx context.Context, t Target, o object, size int64) (wrong string, err error) {
	hash := sha256.New()
	for at := int64(0); at < size; at += readPiece {
		piece, err := s.readSome(ctx, t, o.key(), at, min(readPiece, size-at))
		if err != nil {
			return whatIsWrong(err)
		}
		hash.Write(piece)
	}
	if manifest.Digest(hash.Sum(nil)) != o.digest {
		return wrongContent, nil
	}
	return "", nil
}

// readSome reads a piece when it may.
func (s *scrubbing) readSome(ctx context.Context, t Target, key string, offset, length int64) ([]byte, error) {
	if err := s.wait(ctx, length); err != nil {
		return nil, err
	}
	piece, err := t.Read(ctx, key, offset, length)
	s.pass.Read += int64(len(piece))
	s.at.Bytes += int64(len(piece))
	return piece, err
}

// fileChunks is how many chunks of a file are read at once.
const fileChunks = readPiece / manifest.ChunkSize

func (s *scrubbing) readFiles(ctx context.Context, t Target, v *scrubbed, at status.Cursor) (done bool, err error) {
	x, err := s.index(ctx, v)
	if err != nil || x == nil {
		return x == nil, err
	}
	prefix := filesPrefix(v.channel, v.snapshot.Version)
	path, within := strings.CutPrefix(at.Key, prefix)
	for i := range x.Files {
		f, offset := &x.Files[i], int64(0)
		if within && f.Path <= path {
			if f.Path < path || at.Offset == 0 {
				continue
			}
			offset = at.Offset
		}
		if done, err := s.readFile(ctx, t, prefix+f.Path, f, offset); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

func (s *scrubbing) readFile(ctx context.Context, t Target, key string, f *manifest.File, offset int64) (done bool, err error) {
	for first := int(offset / manifest.ChunkSize); first < f.ChunkCount(); first += fileChunks {
		if s.over() {
			return false, s.settleAndSave(ctx, t)
		}
		bad, err := s.badChunks(ctx, t, key, f, first)
		if err != nil {
			return false, err
		}
		if len(bad) > 0 { // the rest of it is read when it is settled
			if err := s.suspect(ctx, t, key); err != nil {
				return false, err
			}
			break
		}
		end := min(first+fileChunks, f.ChunkCount())
		if end < f.ChunkCount() {
			if err := s.advance(ctx, t, status.Cursor{Key: key, Offset: int64(end) * manifest.ChunkSize}, false); err != nil {
				return false, err
			}
		}
	}
	return true, s.advance(ctx, t, status.Cursor{Key: key}, false)
}

// badChunks are those of the chunks read at once from first on that a file does not
// have.
func (s *scrubbing) badChunks(ctx context.Context, t Target, key string, f *manifest.File, first int) (bad []int, err error) {
	end := min(first+fileChunks, f.ChunkCount())
	offset := int64(first) * manifest.ChunkSize
	span, err := s.readSome(ctx, t, key, offset, min(int64(end)*manifest.ChunkSize, f.Size)-offset)
	if isBroken(err) {
		for i := first; i < end; i++ {
			bad = append(bad, i)
		}
		return bad, nil
	}
	if err != nil {
		return nil, err
	}
	for i := first; i < end; i++ {
		n := f.ChunkLength(i)
		if manifest.Sum(span[:n]) != f.Chunk(i) {
			bad = append(bad, i)
		}
		span = span[n:]
	}
	return bad, nil
}
