package fetcher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/qsync/qsync/manifest"
)

// Stamp tells whether a file that nobody vouches for is still the one that it was.
type Stamp struct {
	Size     int64  `json:"size"` // bytes
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
}

// tells reports whether a file that has the stamp again is the same. The size alone
// does not say that.
func (s Stamp) tells() bool { return s.ETag != "" || s.Modified != "" }

// listing is what an unsigned snapshot is known by: its files, as they were when
// their source was asked. It says nothing about their content.
type listing struct {
	Format    string       `json:"format"`
	Place     string       `json:"place"`
	Version   string       `json:"version"`
	LastBlock int64        `json:"last_block"` // -1 if it is not known
	Files     []listedFile `json:"files"`      // in ascending order of path
}

type listedFile struct {
	Path string `json:"path"`
	Stamp
}

const (
	listingFormat = "qsync listing v1"
	// maxFileList is the most bytes of a files.txt that are read: a hundred
	// times what the largest databases have.
	maxFileList = 64 << 20
	// unsignedMode is that of files whose mode nobody says.
	unsignedMode = 0o644
	// maxStamp is the longest ETag or time that is remembered.
	maxStamp = 256
)

// parseFileList reads a files.txt: a path on each line. They are checked as those
// of an index.
func parseFileList(text []byte) ([]listedFile, error) {
	lines := bytes.Count(text, []byte("\n")) + 1
	if lines > manifest.MaxFiles {
		return nil, fmt.Errorf("%w: more than %d files", manifest.ErrLimit, manifest.MaxFiles)
	}
	all := make([]listedFile, 0, lines)
	for line := range strings.Lines(string(text)) {
		p := strings.TrimPrefix(strings.TrimRight(line, "\r\n"), "./")
		if p == "" {
			continue
		}
		all = append(all, listedFile{Path: p})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: it names no file", manifest.ErrMalformed)
	}
	slices.SortFunc(all, func(a, b listedFile) int { return strings.Compare(a.Path, b.Path) })
	return all, (&listing{Files: all}).check()
}

// check reports whether the files can be restored safely.
func (l *listing) check() error {
	files := l.index().Files
	if err := manifest.CheckPaths(files); err != nil {
		return err
	}
	var all int64
	for i := range files {
		n := files[i].Size
		if n < 0 || n > manifest.MaxFileSize {
			return fmt.Errorf("%w: %s has %d bytes", manifest.ErrLimit, files[i].Path, n)
		}
		if all += n; all > manifest.MaxRawSize {
			return fmt.Errorf("%w: the files have more than %d bytes", manifest.ErrLimit, int64(manifest.MaxRawSize))
		}
	}
	return nil
}

// index is the part of an index that is known: paths and sizes.
func (l *listing) index() *manifest.Index {
	x := &manifest.Index{Files: make([]manifest.File, len(l.Files))}
	for i, f := range l.Files {
		x.Files[i] = manifest.File{Path: f.Path, Size: f.Size, Mode: unsignedMode}
	}
	return x
}

func (l *listing) marshal() ([]byte, error) {
	l.Format = listingFormat
	return json.Marshal(l)
}

// begunListing is the unsigned snapshot that an earlier fetch was restoring, and
// the digest of its listing; nil if there is none that can be read.
func (w *workDir) begunListing() (*listing, manifest.Digest) {
	text, err := os.ReadFile(w.file(listingName))
	l := &listing{}
	if err != nil || json.Unmarshal(text, l) != nil || l.Format != listingFormat || checkVersionName(l.Version) != nil || l.check() != nil {
		return nil, manifest.Digest{} // torn by a power cut: as if nothing had been begun
	}
	return l, manifest.Sum(text)
}

// resumeUnsigned takes over what an earlier run has of files that are still the
// same. Nobody can tell by looking whether a chunk is right: only what was durable
// counts, and what was merely written is fetched again.
func (r *restore) resumeUnsigned() error {
	begun, digest := r.work.begunListing()
	var j *journal
	void := false // there are marks that do not hold
	if begun != nil && begun.Place == r.listing.Place && begun.Version == r.version {
		old := newTable(begun.index(), false)
		now := r.unchanged(begun)
		var err error
		j, err = readJournal(r.work.file(journalName), journalHeader(digest, false), func(kind markKind, first, count int64) {
			for id := first; kind == markDurable && id < min(first+count, old.chunks()); id++ {
				file, chunk := old.at(id)
				if now[file] < 0 {
					void = true
					continue
				}
				r.take(r.table.first[now[file]] + int64(chunk))
			}
		})
		if err != nil && !errors.Is(err, errJournalForeign) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	same := j != nil && digest == r.digest
	if j != nil && (void || !same) {
		if err := j.close(); err != nil {
			return err
		}
	}
	var err error
	switch {
	case !same:
		if err := r.tree.removeExtras(nil); err != nil {
			return err
		}
		j, err = r.startJournal()
	case void:
		j, err = r.remark(nil)
	}
	if err != nil {
		return err
	}
	r.ledger = newLedger(j, r.tree)
	return nil
}

// unchanged tells of each file of an earlier listing which one it is now, or -1
// if it is another one at its source, or is not in the tree as it was left.
func (r *restore) unchanged(begun *listing) []int {
	at := map[string]int{}
	for i, f := range r.listing.Files {
		at[f.Path] = i
	}
	now := make([]int, len(begun.Files))
	for i, f := range begun.Files {
		now[i] = -1
		file, listed := at[f.Path]
		if !listed {
			continue
		}
		if !r.tree.intact(&manifest.File{Path: f.Path, Size: f.Size}) {
			continue
		}
		switch {
		case r.listing.Files[file].Stamp != f.Stamp:
			r.log.Warn("file has changed at its source since it was begun, and is fetched anew", "path", f.Path)
			continue
		case !f.tells():
			r.log.Warn("server tells neither ETag nor time, so that a file that was begun may have changed, and is fetched anew", "path", f.Path)
			continue
		}
		now[i] = file
	}
	return now
}
