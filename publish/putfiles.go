package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest"
)

// FilesNeed says what PutFiles wants to read.
type FilesNeed int

// The needs of PutFiles.
const (
	NoFiles      FilesNeed = iota // no target is one of files: PutFiles does nothing
	ChangedFiles                  // files with other content than in the previous version
	AllFiles                      // every file: some target does not have the previous version
)

// FilesNeed returns what must be readable when PutFiles is called.
func (r *Run) FilesNeed() FilesNeed {
	switch {
	case len(r.p.withFiles()) == 0:
		return NoFiles
	case len(r.based) == len(r.p.withFiles()):
		return ChangedFiles
	}
	return AllFiles
}

// filesAtOnce is how many files are under way at a time. Most are copied by the
// store, which takes its time and nothing else.
const filesAtOnce = 32

// PutFiles stores the files of a snapshot on the targets of files. What the
// previous version has is copied there; the rest is read from what open returns,
// which may be longer than the file, and checked against the index. progress is
// told the bytes that are sent, of all that will be; where that failed they are
// fewer again. It may be nil, and is called concurrently. While a target is out of
// reach PutFiles waits for it, up to an hour. PutFiles comes before Commit, which
// wants the same version and index. Error: ErrConflict if another run puts the same
// version there.
func (r *Run) PutFiles(ctx context.Context, version string, x *manifest.Index, open func(path string) (File, error), progress func(done, total int64)) (err error) {
	if err := errors.Join(manifest.CheckVersion(version), r.checkNewer(version), r.checkPaths(x)); err != nil {
		return fmt.Errorf("put the files of version %s: %w", version, err)
	}
	defer func() {
		if err != nil {
			r.discardFiles(ctx)
		}
	}()
	p := &filesPut{run: r, version: version, index: x, open: open, progress: progress}
	var targets []filesTarget
	for _, t := range r.p.withFiles() {
		target := filesTarget{Target: t}
		target.Files, _ = filesOf(t)
		if slices.Contains(r.based, t) {
			target.before = r.index
		} else if err := r.checkOurs(ctx, t); err != nil {
			return err
		}
		// First of all, also because who prunes takes the age of a version from its
		// youngest object, and copies may be as old as what they are of.
		if err := r.claim(ctx, t, version); err != nil {
			return err
		}
		if err := putText(ctx, target, listKey(r.channel, version), listText(x)); err != nil {
			return err
		}
		targets = append(targets, target)
		p.total += p.sentTo(target)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(filesAtOnce)
	for _, t := range targets {
		p.put(ctx, group, t)
	}
	if err := group.Wait(); err != nil {
		return err
	}
	r.files, r.filesSent = version, p.done.Load()
	return nil
}

// CheckPath refuses the name of a file that one of the targets has no place for. It is
// for asking early: PutFiles refuses it too.
func (r *Run) CheckPath(path string) error {
	if len(r.p.withFiles()) == 0 {
		return nil
	}
	switch {
	case path == filesList:
		return fmt.Errorf("%s is the name of the list of files: rename it, or leave out the target with layout files", path)
	case strings.HasPrefix(path, ".") || strings.Contains(path, "/."):
		return fmt.Errorf("%.80q: a target with layout files takes no names that begin with a dot: rename it, or leave out that target", path)
	case strings.HasPrefix(path, "#") || strings.HasPrefix(path, ";"):
		return fmt.Errorf("%.80q: to those who read the list of files of a target with layout files, this is a comment: rename it, or leave out that target", path)
	}
	return nil
}

func (r *Run) checkPaths(x *manifest.Index) error {
	for i := range x.Files {
		if err := r.CheckPath(x.Files[i].Path); err != nil {
			return err
		}
	}
	return nil
}

// filesTarget is a target of files, and the version that its files are made from.
type filesTarget struct {
	Target
	Files
	before *manifest.Index // nil if it does not have it whole
}

// filesPut is PutFiles under way.
type filesPut struct {
	run      *Run
	version  string
	index    *manifest.Index
	open     func(path string) (File, error)
	progress func(done, total int64)

	total int64
	done  atomic.Int64
}

// before is what a file is made from: the one of the version before, and its key.
// It is nil where there is none.
func (p *filesPut) before(t filesTarget, f *manifest.File) (before *manifest.File, from string) {
	if t.before == nil {
		return nil, ""
	}
	i, ok := t.before.Find(f.Path)
	if !ok {
		return nil, ""
	}
	return &t.before.Files[i], manifest.RawFileKey(p.run.channel, p.run.newest.Version, f.Path)
}

// sentTo is how many bytes will be sent to a target.
func (p *filesPut) sentTo(t filesTarget) (n int64) {
	for i := range p.index.Files {
		f := &p.index.Files[i]
		if before, from := p.before(t, f); !sameContent(f, before) {
			n += sentBytes(pieces(f, before, from))
		}
	}
	return n
}

// put begins to store all files on a target.
func (p *filesPut) put(ctx context.Context, group *errgroup.Group, t filesTarget) {
	for i := range p.index.Files {
		if ctx.Err() != nil {
			break
		}
		f := &p.index.Files[i]
		group.Go(func() error {
			key := manifest.RawFileKey(p.run.channel, p.version, f.Path)
			err := throughOutage(ctx, func() error { return p.putFile(ctx, t, f, key) }, func(err error) {
				p.run.p.log().Warn("target is out of reach, so the file is put again until it is back",
					"target", t.String(), "key", key, "error", err)
			})
			if err != nil {
				return fmt.Errorf("put %s on %s: %w", key, t, err)
			}
			return nil
		})
	}
}

func (p *filesPut) putFile(ctx context.Context, t filesTarget, f *manifest.File, key string) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	before, from := p.before(t, f)
	if sameContent(f, before) {
		return t.Copy(ctx, key, from)
	}
	all := pieces(f, before, from)
	if sentBytes(all) == 0 {
		return t.Assemble(ctx, key, all, nil)
	}
	file, err := p.open(f.Path)
	if err != nil {
		return fmt.Errorf("open it: %w", err)
	}
	var read atomic.Int64
	tell := func(n int64) {
		read.Add(n)
		p.tell(n)
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			p.tell(-read.Load()) // it has to be sent again
		}
	}()
	return t.Assemble(ctx, key, all, &checkedFile{file, f, tell})
}

func (p *filesPut) tell(n int64) {
	done := p.done.Add(n)
	if p.progress != nil {
		p.progress(done, p.total)
	}
}
