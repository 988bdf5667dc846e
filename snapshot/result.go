package snapshot

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
)

// seal makes the result from the fork, and releases it.
func (r *run) seal(ctx context.Context, fork Fork) (*Result, error) {
	index, todo := r.plan()
	all := &Tree{Dir: r.dir, Kind: r.Kind, Files: slices.Concat(r.forked.Files, r.unchanged.Files)}
	all.sort()
	if err := all.check(); err != nil { // more than at first look: the node went on between
		return nil, err
	}
	versions, err := r.versionFiles(fork)
	if err != nil {
		return nil, err
	}
	m := &meter{tell: r.Progress}
	for _, f := range index.Files {
		m.now.TotalBytes += f.Size
	}
	for _, f := range todo {
		m.now.DoneBytes -= f.Size
	}
	m.now.DoneBytes += m.now.TotalBytes
	m.now.ReusedBytes = m.now.DoneBytes
	frames, err := manifest.NewFrameEncoder(r.Level, r.MinSaving)
	if err != nil {
		return nil, err
	}
	s := &sealer{fork: fork, sink: r.Sink, frames: frames, meter: m, put: make(map[manifest.Digest]bool)}
	if r.Previous != nil && r.Previous.Index != nil {
		s.known = newKnown(r.Previous.Index)
	}
	if err := s.seal(ctx, todo, r.Workers); err != nil {
		return nil, err
	}
	result := &Result{
		Index: index, VersionFiles: versions,
		Cut: r.cutAt, Pause: r.pause, Fork: fork.String(), Foreign: len(r.forked.Foreign),
		RawBytes: m.now.TotalBytes, ReadBytes: m.now.ReadBytes,
		ReusedBytes: m.now.ReusedBytes, StoredBytes: m.now.StoredBytes,
	}
	if r.Sealed != nil {
		if err := r.Sealed(ctx, result, fork.Open); err != nil {
			return nil, err
		}
	}
	result.Stamps, err = r.stamps(fork)
	return result, err
}

// plan lists the files of the snapshot in the order of the index. Those that
// are unchanged are complete; todo are the others that have any bytes.
func (r *run) plan() (x *manifest.Index, todo []*manifest.File) {
	x = &manifest.Index{Files: make([]manifest.File, 0, len(r.forked.Files)+len(r.unchanged.Files))}
	for _, e := range r.unchanged.Files {
		x.Files = append(x.Files, *r.Previous.file(e))
	}
	for _, e := range r.forked.Files {
		if stamp, unread := r.unread[e.Path]; unread && stamp.SameContent(e.Stamp) {
			x.Files = append(x.Files, *r.Previous.file(e))
		} else {
			x.Files = append(x.Files, manifest.File{Path: e.Path, Size: e.Stamp.Size, Mode: e.Mode})
		}
	}
	slices.SortFunc(x.Files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	for i := range x.Files {
		if f := &x.Files[i]; f.Size > 0 && f.Chunks == nil {
			todo = append(todo, f)
		}
	}
	return x, todo
}

// maxVersionFile is more than any engine writes into such a file.
const maxVersionFile = 256

func (r *run) versionFiles(fork Fork) (map[string]string, error) {
	versions := make(map[string]string)
	for _, e := range r.forked.Files {
		if !r.Kind.IsVersion(e.Path) || e.Stamp.Size > maxVersionFile {
			continue
		}
		f, err := fork.Open(e.Path)
		if err != nil {
			return nil, fmt.Errorf("open %s in the fork: %w", e.Path, err)
		}
		b, err := io.ReadAll(io.LimitReader(f, e.Stamp.Size))
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", e.Path, err)
		}
		versions[e.Path] = strings.TrimSpace(strings.ToValidUTF8(string(b), ""))
	}
	return versions, nil
}

// stamps are the times by which the next run knows its unchanged files, and
// releases the fork.
//
// A hard link in the fork changes its file's ctime, and so does its removal. So
// what counts is: from the cut to here nobody but the fork has touched the file;
// then the fork is removed; the file still is what it was, and its ctime now is the one
// to remember. What was written shortly before the cut has times that a later
// write might not change, and gets no stamp.
func (r *run) stamps(fork Fork) (map[string]Stamp, error) {
	stamps := make(map[string]Stamp)
	for _, e := range r.unchanged.Files {
		stamps[e.Path] = e.Stamp
	}
	var untouched []Entry
	for _, e := range r.forked.Files {
		if e.Class != database.Immutable || !e.Stamp.Settled(r.cutAt) {
			continue
		}
		if now, ok := r.stamp(e.Path); ok && now == e.Held {
			untouched = append(untouched, e)
		}
	}
	if err := fork.Release(); err != nil {
		return nil, err
	}
	for _, e := range untouched {
		if now, ok := r.stamp(e.Path); ok && now.SameContent(e.Stamp) {
			stamps[e.Path] = now
		}
	}
	return stamps, nil
}

func (r *run) stamp(path string) (Stamp, bool) {
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(r.dir, path), &st); err != nil {
		return Stamp{}, false
	}
	return StampOf(&st), true
}
