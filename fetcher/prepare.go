package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

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
// there any more does not hold.
func (r *restore) prepareFiles() error {
	return r.tree.prepare(func(file int) {
		for i := range r.table.index.Files[file].ChunkCount() {
			id := r.table.first[file] + int64(i)
			if r.held.has(id) {
				r.held.remove(id)
				r.progress.held.Add(-int64(r.table.index.Files[file].ChunkLength(i)))
			}
		}
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
	path, header := r.work.file("journal"), journalHeader(r.digest, r.opts.InPlace)
	begun, old, err := r.work.begun()
	if err != nil {
		return nil, err
	}
	if r.opts.InPlace && !r.guarded() {
		begun, old = nil, nil // a node may have written to the target since
	}
	var j *journal
	if begun != nil {
		j, err = readJournal(path, header, func(kind markKind, first, count int64) {
			for id := first; id < min(first+count, r.table.chunks()); id++ {
				if kind == markDurable {
					r.take(id)
				} else {
					doubtful.add(id)
				}
			}
		})
	}
	if j == nil || err != nil {
		if err := r.adopt(begun, old, doubtful); err != nil {
			return nil, err
		}
		if j, err = r.startJournal(path, header); err != nil {
			return nil, err
		}
	}
	r.ledger = newLedger(j, r.tree)
	return doubtful, nil
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
	manifestName = "manifest.json"
	indexName    = "index"
	listingName  = "listing.json"
)

// startJournal begins a new restore in the work directory. The journal goes
// first: without one, nothing else in there counts.
func (r *restore) startJournal(path, header string) (*journal, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old journal: %w", err)
	}
	files, err := r.stateFiles()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := r.work.writeFile(f.name, f.body); err != nil {
			return nil, noSpace(err)
		}
	}
	return createJournal(path, header)
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
