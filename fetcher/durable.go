package fetcher

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest"
)

// syncInterval is how long written chunks wait for the sync that makes their
// marks durable. A power cut costs re-hashing, not re-fetching, of what was
// written since, so there is no hurry.
const syncInterval = 2 * time.Second

// ledger records which chunks are on disk: at once as written, and in batches,
// after an fdatasync of their files, as durable.
type ledger struct {
	journal *journal
	tree    *tree

	mu       sync.Mutex
	unsynced *chunkSet
}

func newLedger(j *journal, t *tree) *ledger {
	return &ledger{journal: j, tree: t, unsynced: newChunkSet(t.table.chunks())}
}

// written records a chunk whose bytes have been written. The order of the two
// lines matters: a chunk joins a batch only when the journal lists it.
func (l *ledger) written(id int64) error {
	if err := l.journal.mark(markWritten, id, 1); err != nil {
		return err
	}
	l.mu.Lock()
	l.unsynced.add(id)
	l.mu.Unlock()
	return nil
}

// flush syncs the files of all written chunks and marks them durable.
func (l *ledger) flush() error {
	l.mu.Lock()
	batch := l.unsynced
	l.unsynced = newChunkSet(l.tree.table.chunks())
	l.mu.Unlock()
	if batch.len() == 0 {
		return nil
	}
	synced := -1
	var err error
	batch.runs(func(first, count int64) {
		for file, _ := l.tree.table.at(first); err == nil && file < len(l.tree.table.index.Files) &&
			l.tree.table.first[file] < first+count; file++ {
			if file > synced {
				err = l.syncFile(file)
				synced = file
			}
		}
	})
	batch.runs(func(first, count int64) {
		if err == nil {
			err = l.journal.mark(markDurable, first, count)
		}
	})
	return err
}

func (l *ledger) syncFile(file int) error {
	f, err := l.tree.root.OpenFile(l.tree.name(file), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer f.Close()
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", l.tree.name(file), noSpace(err))
	}
	return nil
}

// keepFlushing flushes from time to time until ctx ends.
func (l *ledger) keepFlushing(ctx context.Context) error {
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := l.flush(); err != nil {
				return err
			}
		}
	}
}

// have takes note of a chunk that is in its place and right.
func (r *restore) have(file, chunk int) error {
	id := r.table.first[file] + int64(chunk)
	if !r.held.add(id) {
		return nil
	}
	r.progress.held.Add(int64(r.table.index.Files[file].ChunkLength(chunk)))
	if r.ledger == nil {
		return nil
	}
	return r.ledger.written(id)
}

// haveZeros takes note of all chunks of zeros, which are known by their digest:
// a hole serves.
func (r *restore) haveZeros() error {
	for file := range r.table.index.Files {
		f := &r.table.index.Files[file]
		var out *os.File
		for i := range f.ChunkCount() {
			id := r.table.first[file] + int64(i)
			if !r.table.isHole(file, i) || r.held.has(id) {
				continue
			}
			if out == nil {
				var err error
				if out, err = r.tree.open(file); err != nil {
					return err
				}
			}
			if err := r.tree.writeHole(out, file, int64(i)*manifest.ChunkSize, manifest.ChunkSize); err != nil {
				return err
			}
			if err := r.have(file, i); err != nil {
				return err
			}
		}
		if out != nil {
			if err := out.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// zeroChunk is the digest of a whole chunk of zeros.
var zeroChunk = manifest.Sum(make([]byte, manifest.ChunkSize))
