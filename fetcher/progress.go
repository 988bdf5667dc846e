package fetcher

import (
	"sync/atomic"
	"time"
)

// Phase is what a restore is busy with.
type Phase string

// The phases of a restore, in order.
const (
	PhaseVerifying Phase = "verifying" // hashing what the disk already holds
	PhaseFetching  Phase = "fetching"
	PhaseFinishing Phase = "finishing" // syncing and swapping into place
)

// Progress is a moment of a restore.
type Progress struct {
	Phase        Phase
	RawBytes     int64 // of the whole snapshot
	HeldBytes    int64 // of RawBytes, verified and written
	CheckedBytes int64 // hashed so far while verifying
	FetchBytes   int64 // bytes to be fetched, as far as is known: two sources may send a chunk in two lengths
	FetchedBytes int64 // bytes received so far, also those of no use
	ReusedBytes  int64 // raw bytes found on disk
	Sources      []SourceProgress
}

// SourceProgress is how a source does.
type SourceProgress struct {
	Name         string
	FetchedBytes int64
	Connections  int
	State        string // "" while all is well, else why it is not in use
}

// meter holds the counters that [Progress] is made from.
type meter struct {
	phase    atomic.Value // Phase
	held     atomic.Int64
	checked  atomic.Int64
	toFetch  atomic.Int64
	fetched  atomic.Int64
	reused   atomic.Int64
	download atomic.Pointer[download]
}

const progressInterval = 250 * time.Millisecond

// report calls back until stop is closed, and once more then.
func (r *restore) report(stop <-chan struct{}) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.opts.Progress(r.snapshotProgress())
		case <-stop:
			r.opts.Progress(r.snapshotProgress())
			return
		}
	}
}

func (r *restore) snapshotProgress() Progress {
	m := &r.progress
	p := Progress{
		RawBytes: r.rawSize, HeldBytes: m.held.Load(), CheckedBytes: m.checked.Load(),
		FetchBytes: m.toFetch.Load(), FetchedBytes: m.fetched.Load(), ReusedBytes: m.reused.Load(),
	}
	p.Phase, _ = m.phase.Load().(Phase)
	if d := m.download.Load(); d != nil {
		p.Sources = d.sourceProgress()
	}
	return p
}
