package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/qsync/qsync/manifest"
)

// prepare finds out what is on disk already, puts that to use, and makes the
// plan for the rest. It may be interrupted and called again. A target that is
// to be repaired in place is only read.
func (r *restore) prepare(ctx context.Context) (_ *Plan, err error) {
	var doubtful *chunkSet
	if r.work != nil {
		var err error
		if r.tree, err = openTree(r.treePath(), r.table); err != nil {
			return nil, err
		}
		if r.listing != nil {
			err = r.resumeUnsigned()
		} else {
			doubtful, err = r.resume()
		}
		if err != nil {
			return nil, err
		}
		if !r.opts.InPlace {
			if err := r.prepareFiles(); err != nil {
				return nil, err
			}
		}
	}
	if !r.table.digests {
		return r.plan()
	}
	seeds, err := r.seeds()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeSeeds(seeds)) }()
	if err := r.reuse(ctx, doubtful, seeds); err != nil {
		if r.ledger != nil {
			err = errors.Join(err, r.ledger.flush())
		}
		return nil, err
	}
	return r.plan()
}

// prepareFiles makes the files of the tree. What was said of a file that is not
// there any more does not hold, and the journal must not say it any more once there
// is a file of that name again.
func (r *restore) prepareFiles() error {
	return r.tree.prepare(func(files []int) error {
		dropped := false
		for _, file := range files {
			for i := range r.table.index.Files[file].ChunkCount() {
				id := r.table.first[file] + int64(i)
				if r.held.has(id) {
					r.held.remove(id)
					r.progress.held.Add(-int64(r.table.index.Files[file].ChunkLength(i)))
					dropped = true
				}
			}
		}
		if !dropped {
			return nil
		}
		// What is still held becomes durable, as the new journal will have it.
		if err := r.ledger.flush(); err != nil {
			return err
		}
		old := r.ledger.journal
		j, err := r.remark(nil)
		if err != nil {
			return err
		}
		r.ledger.journal = j
		return old.close()
	})
}

func (r *restore) treePath() string {
	if r.opts.InPlace {
		return r.target
	}
	return r.work.treePath()
}

// seeds opens the directories to look for chunks in. A target that is not
// repaired in place is one.
func (r *restore) seeds() ([]*seed, error) {
	paths := r.opts.Seeds
	if _, err := os.Stat(r.target); err == nil && (!r.opts.InPlace || r.work == nil) {
		paths = append([]string{r.target}, paths...)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("target: %w", err)
	}
	return openSeeds(paths)
}

// resume opens the journal, or starts one, and takes the chunks that it vouches
// for. It returns those that are to be re-hashed.
func (r *restore) resume() (doubtful *chunkSet, err error) {
	doubtful = newChunkSet(r.table.chunks())
	begun, old, err := r.work.begun()
	if err != nil {
		return nil, err
	}
	if r.opts.InPlace && !r.guarded() {
		begun, old = nil, nil // a node may have written to the target since
	}
	var j *journal
	void := false // there are marks that do not hold
	if begun != nil {
		intact := make([]bool, len(r.table.index.Files))
		for i := range intact {
			intact[i] = r.tree.intact(&r.table.index.Files[i])
		}
		j, err = readJournal(r.work.file(journalName), r.header(), func(kind markKind, first, count int64) {
			for id := first; id < min(first+count, r.table.chunks()); id++ {
				file, _ := r.table.at(id)
				if kind == markDurable && intact[file] {
					r.take(id)
					continue
				}
				doubtful.add(id)
				void = void || kind == markDurable
			}
		})
	}
	switch {
	case j == nil || err != nil:
		if err := r.adopt(begun, old, doubtful); err != nil {
			return nil, err
		}
		j, err = r.startJournal()
	case void:
		if err := j.close(); err != nil {
			return nil, err
		}
		j, err = r.remark(doubtful)
	}
	if err != nil {
		return nil, err
	}
	r.ledger = newLedger(j, r.tree)
	return doubtful, nil
}

func (r *restore) header() string { return journalHeader(r.digest, r.opts.InPlace) }

// remark begins the journal anew with what holds of it, and with what is to be
// re-hashed, nil if that is nothing.
func (r *restore) remark(doubtful *chunkSet) (*journal, error) {
	return createJournal(r.work, r.header(), r.held, doubtful)
}

// take counts a chunk as held that the journal vouches for.
func (r *restore) take(id int64) {
	if r.held.add(id) {
		file, chunk := r.table.at(id)
		r.progress.held.Add(int64(r.table.index.Files[file].ChunkLength(chunk)))
	}
}

// stateFile is a file of the work directory that says what is being restored.
type stateFile struct {
	name string
	body []byte
}

const (
	journalName  = "journal"
	manifestName = "manifest.json"
	indexName    = "index"
	listingName  = "listing.json"
)

// startJournal begins a new restore in the work directory. The journal goes
// first: without one, nothing else in there counts.
func (r *restore) startJournal() (*journal, error) {
	files, err := r.stateFiles()
	if err != nil {
		return nil, err
	}
	gone := []string{journalName}
	for _, name := range []string{manifestName, indexName, listingName} {
		if !slices.ContainsFunc(files, func(f stateFile) bool { return f.name == name }) {
			gone = append(gone, name) // of a restore of the other kind
		}
	}
	for _, name := range gone {
		if err := os.Remove(r.work.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove what an earlier restore left: %w", err)
		}
	}
	for _, f := range files {
		if err := r.work.writeFile(f.name, f.body); err != nil {
			return nil, noSpace(err)
		}
	}
	return r.remark(nil)
}

// adopt takes over what there is in the tree from no restore, or from one of
// another version: files that are listed no more make room, and chunks that
// stand where they belong are to be re-hashed.
func (r *restore) adopt(begun *manifest.Manifest, old *manifest.Index, doubtful *chunkSet) error {
	if begun != nil {
		r.log.Info("going on from an unfinished restore", "of", begun.Version, "to", r.version)
	}
	if !r.opts.InPlace {
		if err := r.tree.removeExtras(nil); err != nil {
			return err
		}
	}
	was := map[string]*manifest.File{}
	if old != nil && !r.opts.InPlace {
		for i := range old.Files {
			was[old.Files[i].Path] = &old.Files[i]
		}
	}
	for file := range r.table.index.Files {
		f := &r.table.index.Files[file]
		before := was[f.Path]
		for i := range f.ChunkCount() {
			// In place, all that is there is worth a look.
			same := before != nil && i < before.ChunkCount() && before.Chunk(i) == f.Chunk(i)
			if same || r.opts.InPlace {
				doubtful.add(r.table.first[file] + int64(i))
			}
		}
	}
	return nil
}
