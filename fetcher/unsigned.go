package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/manifest/trust"
)

// ErrChanged says that a file is not any more what it was when it was listed.
var ErrChanged = errors.New("changed at its source")

// UnsignedTree is a place that holds the files of snapshots that nobody has
// signed, as Parity publishes them:
//
//	latest_version.meta.txt    the newest version
//	<version>.meta.txt         its size and last block
//	<version>/files.txt        the paths of its files
//	<version>/<path>           the files
//
// Nothing vouches for what is read there. Errors are as those of a [Source].
type UnsignedTree interface {
	// Get returns a small file, whole.
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
	// Stat says how a file is now.
	Stat(ctx context.Context, key string) (Stamp, error)
	// OpenStamped streams a span of a file. The error wraps [ErrChanged] if the
	// file is known not to be as the stamp says any more.
	OpenStamped(ctx context.Context, span Span, stamp Stamp) (io.ReadCloser, error)
	// String names the place for people, without credentials.
	String() string
}

// UnsignedSnapshot is what is known of a snapshot that nobody has signed.
type UnsignedSnapshot struct {
	Version   string
	Kind      string // of database, by the names of its files
	LastBlock int64  // number of its last block, as its source says; -1 if it does not
	Files     int
	RawSize   int64 // bytes
}

// stamped is a tree whose files must be as they were when they were listed.
type stamped struct {
	UnsignedTree
	stamps map[string]Stamp // by key
}

// Open implements [Source].
func (s *stamped) Open(ctx context.Context, span Span) (io.ReadCloser, error) {
	return s.OpenStamped(ctx, span, s.stamps[span.Key])
}

// The names of the small files of a tree.
const (
	latestKey = "latest_version.meta.txt"
	metaName  = ".meta.txt"
	listName  = "/files.txt"
)

// errGone says that a version is not there, or not all of it any more.
var errGone = errors.New("it is not there")

// unsignedSnapshot finds out what is to be restored of a tree that nobody has signed.
func unsignedSnapshot(ctx context.Context, opts Options, work *workDir) (*snapshot, error) {
	u := &treeReader{opts.Unsigned, opts}
	l, err := u.choose(ctx, work)
	if err != nil {
		return nil, err
	}
	return u.snapshot(ctx, l)
}

// treeReader reads a tree that nobody has signed.
type treeReader struct {
	tree UnsignedTree
	opts Options
}

// LookUnsigned tells what a version of a tree is, or its newest, as far as the names
// of its files say.
func LookUnsigned(ctx context.Context, tree UnsignedTree, version string) (*UnsignedSnapshot, error) {
	u := &treeReader{tree: tree}
	var err error
	if version == "" {
		if version, err = u.latest(ctx); err != nil {
			return nil, err
		}
	}
	files, err := u.files(ctx, version)
	if err != nil {
		return nil, err
	}
	kind, err := kindOf(files)
	if err != nil {
		return nil, fmt.Errorf("version %s at %s: %w", version, tree, err)
	}
	return &UnsignedSnapshot{Version: version, Kind: kind.Name, LastBlock: -1, Files: len(files)}, nil
}

// choose lists the version that is asked for, or the one that an earlier fetch has
// begun as long as it is there, or the newest.
func (u *treeReader) choose(ctx context.Context, work *workDir) (*listing, error) {
	if u.opts.Version != "" {
		return u.list(ctx, u.opts.Version)
	}
	begun := ""
	if work != nil {
		if l, _ := work.begunListing(); l != nil && l.Place == u.tree.String() {
			begun = l.Version
		}
	}
	latest, latestErr := u.latest(ctx)
	if begun == "" || begun == latest {
		if latestErr != nil {
			return nil, latestErr
		}
		return u.list(ctx, latest)
	}
	l, err := u.list(ctx, begun)
	switch {
	case latestErr != nil:
	case err == nil:
		u.opts.log().Info("going on with the version that was begun, though there is a newer one", "version", begun, "newest", latest)
	case errors.Is(err, errGone):
		u.opts.log().Warn("the version that was begun is gone from its source, and the newest is fetched from the start", "version", begun, "newest", latest)
		return u.list(ctx, latest)
	}
	return l, err
}

// latest is the newest version.
func (u *treeReader) latest(ctx context.Context) (string, error) {
	text, err := getRetrying(ctx, u.tree, latestKey, manifest.MaxVersionMetaSize)
	if err != nil {
		return "", u.failed(latestKey, err)
	}
	version := strings.TrimSpace(string(text))
	if err := checkVersionName(version); err != nil {
		return "", u.failed(latestKey, err)
	}
	return version, nil
}

// failed gives an error of a tree its class: what is there and not safe is not
// trusted, what is not there is not found, and all else may be better later.
func (u *treeReader) failed(key string, err error) error {
	class := ErrNoSource
	switch {
	case errors.Is(err, manifest.ErrPath), errors.Is(err, manifest.ErrLimit), errors.Is(err, manifest.ErrMalformed):
		class = trust.ErrUntrusted
	case errors.Is(err, ErrNotFound), errors.Is(err, context.Canceled):
		return fmt.Errorf("get %s from %s: %w", key, u.tree, err)
	}
	return fmt.Errorf("%w: get %s from %s: %w", class, key, u.tree, err)
}

// checkVersionName refuses a version that could not be one element of a path.
func checkVersionName(v string) error {
	const most = 64
	if err := manifest.CheckPath(v); err != nil || strings.Contains(v, "/") || len(v) > most {
		return fmt.Errorf("%w: %.80q is no version", manifest.ErrMalformed, v)
	}
	return nil
}

// files are the paths of a version.
func (u *treeReader) files(ctx context.Context, version string) ([]listedFile, error) {
	if err := checkVersionName(version); err != nil {
		return nil, err
	}
	text, err := getRetrying(ctx, u.tree, version+listName, maxFileList)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("version %s of %s: %w: %w", version, u.tree, errGone, err)
	}
	var files []listedFile
	if err == nil {
		files, err = parseFileList(text)
	}
	if err != nil {
		return nil, u.failed(version+listName, err)
	}
	return files, nil
}

// statsAtOnce is how many files are asked about at once.
const statsAtOnce = 32

// list asks how each file of a version is.
func (u *treeReader) list(ctx context.Context, version string) (*listing, error) {
	files, err := u.files(ctx, version)
	if err != nil {
		return nil, err
	}
	l := &listing{Place: u.tree.String(), Version: version, LastBlock: -1, Files: files}
	u.opts.log().Info("asking for the size of each file", "version", version, "files", len(files))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(statsAtOnce)
	for i := range files {
		group.Go(func() error {
			key := version + "/" + files[i].Path
			stamp, err := backoff.Retry(groupCtx, func() (Stamp, error) {
				s, err := u.tree.Stat(groupCtx, key)
				if errors.Is(err, ErrNotFound) {
					err = backoff.Permanent(err)
				}
				return s, err
			}, smallObjectRetries()...)
			if errors.Is(err, ErrNotFound) {
				return fmt.Errorf("%w: %s, which files.txt of version %s names: %w", ErrNoSource, files[i].Path, version, errGone)
			}
			if err != nil {
				return u.failed(key, err)
			}
			if len(stamp.ETag) > maxStamp {
				stamp.ETag = ""
			}
			if len(stamp.Modified) > maxStamp {
				stamp.Modified = ""
			}
			files[i].Stamp = stamp
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, u.failed(version+listName, err)
	}
	u.addMeta(ctx, l)
	return l, nil
}

// addMeta adds the last block that the tree names, if it does.
func (u *treeReader) addMeta(ctx context.Context, l *listing) {
	text, err := getRetrying(ctx, u.tree, l.Version+metaName, manifest.MaxVersionMetaSize)
	if err != nil {
		u.opts.log().Debug("version without a meta file", "err", err)
		return
	}
	meta, err := manifest.ParseVersionMeta(text)
	if err != nil {
		u.opts.log().Debug("meta file with something else in it", "err", err)
	}
	l.LastBlock = meta.LastBlock
	if all := sizeOf(l.index()); meta.Size > 0 && meta.Size != all {
		u.opts.log().Warn("the version is not as its meta file says", "bytes", all, "meta", meta.Size)
	}
}

func sizeOf(x *manifest.Index) (n int64) {
	for i := range x.Files {
		n += x.Files[i].Size
	}
	return n
}

// kindOf is the kind of the database that files make.
func kindOf(files []listedFile) (*database.Kind, error) {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.Path
	}
	return database.Detect(paths)
}

// snapshot is what a listing says, once it is agreed to.
func (u *treeReader) snapshot(ctx context.Context, l *listing) (*snapshot, error) {
	kind, err := kindOf(l.Files)
	if err != nil {
		return nil, fmt.Errorf("version %s at %s: %w", l.Version, u.tree, err)
	}
	text, err := l.marshal()
	if err != nil {
		return nil, err
	}
	source := &stamped{u.tree, map[string]Stamp{}}
	for _, f := range l.Files {
		source.stamps[l.Version+"/"+f.Path] = f.Stamp
	}
	x := l.index()
	s := &snapshot{
		channel: u.opts.Channel, version: l.Version, kind: kind, table: newTable(x, false),
		digest: manifest.Sum(text), listing: l,
		sources: []Source{source}, layouts: []layout{&rawFiles{x, l.Version + "/"}},
	}
	if u.opts.CheckUnsigned != nil {
		return s, u.opts.CheckUnsigned(ctx, s.unsigned())
	}
	return s, nil
}

// unsigned is what there is to tell of a snapshot that nobody has signed.
func (s *snapshot) unsigned() *UnsignedSnapshot {
	if s.listing == nil {
		return nil
	}
	x := s.table.index
	return &UnsignedSnapshot{Version: s.version, Kind: s.kind.Name, LastBlock: s.listing.LastBlock, Files: len(x.Files), RawSize: sizeOf(x)}
}
