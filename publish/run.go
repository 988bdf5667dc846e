package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/status"
)

// Run is one publication on one channel, from Begin to Close.
type Run struct {
	p       *Publisher
	channel string
	name    string // of which there is no other
	lock    *flock.Flock

	newest   *manifest.Snapshot // that the head names, nil if there is no head
	manifest *manifest.Manifest
	index    *manifest.Index
	based    []Target // of files that hold the newest version whole
	broken   brokenObjects

	mu       sync.Mutex
	put      map[manifest.Digest]putObject // the segments of this run
	uploaded int64                         // bytes
	replaced []status.Damage               // that was broken

	claims    []claim // to what no head can name yet
	files     string  // version that PutFiles has put
	filesSent int64   // bytes
}

type putObject struct {
	size int64
	sent bool // at least one target did not have it
}

// Receipt says what a run published.
type Receipt struct {
	Version  string
	Sequence int64 // of the head
	Manifest manifest.Digest

	// UploadedBytes are those of the segments, index and manifest that were
	// sent. An object counts once, however many targets it went to.
	UploadedBytes int64
	// FilesBytes are those that were sent to all targets of files.
	FilesBytes int64
	// ReusedBytes are the stored bytes of the segments that the targets had
	// already, from the previous version, another channel or a broken run. A
	// segment counts once, however often the index names it.
	ReusedBytes int64
}

func (r *Run) load(ctx context.Context) error {
	head, err := r.p.levelHead(ctx, r.channel)
	if err != nil || head == nil {
		return err
	}
	if len(head.Snapshots) >= manifest.MaxSnapshots {
		return fmt.Errorf("the head names %d versions and has no room for another one: prune the channel first", len(head.Snapshots))
	}
	r.newest = &head.Snapshots[0]
	if err := r.loadPrevious(ctx); err != nil {
		return err
	}
	if r.manifest != nil {
		if err := r.findBases(ctx); err != nil {
			return err
		}
	}
	if err := r.p.pointLatest(ctx, r.channel); err != nil || r.manifest == nil {
		return err
	}
	return r.p.finishCatalog(ctx, r.manifest.Chain.ID, r.channel)
}

// Previous returns the newest published version, which every target holds, or nil if
// there is none, or none that can be read. Its segments may be named again without a
// Put. Files of which something is known to be broken are not in its index: they are to
// be read and put like new ones, which mends them.
func (r *Run) Previous() (*manifest.Manifest, *manifest.Index) { return r.manifest, r.index }

// Put stores a segment on all targets; where it is already it is kept and its
// age renewed. The segment is durable when Put returns nil. Put is safe for
// concurrent use and may be repeated after an error.
func (r *Run) Put(ctx context.Context, digest manifest.Digest, segment []byte) error {
	r.mu.Lock()
	_, done := r.put[digest]
	r.mu.Unlock()
	if done {
		return nil
	}
	sent, err := r.store(ctx, object{segmentObject, digest}, segment)
	if err == nil && r.p.Addresses != nil {
		err = r.p.Addresses.Segment(digest, segment)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	was, done := r.put[digest]
	if done && (was.sent || !sent) {
		return nil // another worker has had the same content
	}
	size := int64(len(segment))
	r.put[digest] = putObject{size: size, sent: sent}
	if sent {
		r.uploaded += size
	}
	return nil
}

// store puts an object on all targets that hold its kind, and reports whether one
// did not have it.
func (r *Run) store(ctx context.Context, o object, body []byte) (sent bool, err error) {
	targets := r.p.holding(o.kind)
	missing := make([]bool, len(targets))
	group, ctx := errgroup.WithContext(ctx)
	for i, t := range targets {
		group.Go(func() error {
			have, err := t.Stat(ctx, o.key())
			if err != nil && !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("stat %s on %s: %w", o.key(), t, err)
			}
			missing[i] = err != nil || have.Size != int64(len(body))
			if r.broken.has(t, o.key()) {
				missing[i] = true
				return r.replaceBroken(ctx, t, o, body)
			}
			return put(ctx, t, o, body)
		})
	}
	err = group.Wait()
	return slices.Contains(missing, true), err
}

// Commit publishes the snapshot. Every segment of the index must have been Put
// or belong to the previous version. Commit completes the manifest: what
// follows from the index, and the previous version. No Put may be under way.
//
// When the error is ErrConflict, another agent published first and nothing of
// this run is public. A Receipt that has a version says that the snapshot is
// public, with an error too: then a target behind the first one or the catalog
// failed, and the next Begin finishes that.
func (r *Run) Commit(ctx context.Context, m *manifest.Manifest, x *manifest.Index) (Receipt, error) {
	receipt, err := r.commit(ctx, m, x)
	if told := r.p.invalidate(ctx); told && receipt.Version != "" {
		r.noteMended()
	}
	switch {
	case err == nil:
		return receipt, nil
	case receipt.Version != "":
		return receipt, fmt.Errorf("%s %s is published, but not everywhere yet, which the next run finishes: %w", r.channel, m.Version, err)
	}
	return receipt, fmt.Errorf("publish %s %s: %w", r.channel, m.Version, err)
}

func (r *Run) commit(ctx context.Context, m *manifest.Manifest, x *manifest.Index) (Receipt, error) {
	snapshot, reused, err := r.prepare(ctx, m, x)
	if err != nil {
		r.discardFiles(ctx)
		return Receipt{}, err
	}
	head, err := r.p.rewriteHead(ctx, r.channel, func(present *manifest.Head) ([]manifest.Snapshot, error) {
		snapshots, err := r.follow(present, snapshot)
		if err == nil {
			r.claims = nil // from now on the head may name what they are for
		}
		return snapshots, err
	})
	if head == nil {
		r.discardFiles(ctx)
		return Receipt{}, err
	}
	receipt := Receipt{
		Version:       m.Version,
		Sequence:      head.sequence,
		Manifest:      snapshot.Manifest,
		UploadedBytes: r.uploaded,
		FilesBytes:    r.filesSent,
		ReusedBytes:   reused,
	}
	return receipt, errors.Join(err, r.p.refreshCatalog(ctx, m.Chain.ID, r.channel), r.p.pointLatest(ctx, r.channel))
}

// prepare does all of Commit that comes before the swap of the head.
func (r *Run) prepare(ctx context.Context, m *manifest.Manifest, x *manifest.Index) (s manifest.Snapshot, reused int64, err error) {
	if m.Channel != r.channel {
		return s, 0, fmt.Errorf("the manifest is for channel %s", m.Channel)
	}
	if err := r.checkNewer(m.Version); err != nil {
		return s, 0, err
	}
	if r.newest != nil {
		m.Previous = r.newest.Version
	}
	if reused, err = r.checkComplete(x); err != nil {
		return s, 0, err
	}
	if r.files != m.Version && len(r.p.withFiles()) > 0 {
		return s, 0, errors.New("its files were not put")
	}
	if s, err = r.storeManifest(ctx, m, x); err != nil {
		return s, 0, err
	}
	if err := r.inspect(ctx, s, m.Index); err != nil {
		return s, 0, err
	}
	return s, reused, r.finishFiles(ctx, m, x)
}

func (r *Run) checkNewer(version string) error {
	if r.newest != nil && version <= r.newest.Version {
		return fmt.Errorf("the version is not newer than %s, which is published: check the clock", r.newest.Version)
	}
	return nil
}

// checkComplete reports whether every segment of the index is on the targets,
// as far as this run can know, and sums up the bytes that were not sent.
func (r *Run) checkComplete(x *manifest.Index) (reused int64, err error) {
	live := map[manifest.Digest]bool{} // of the previous version → not counted yet
	if r.index != nil {
		segments(r.index, func(d manifest.Digest, _ int64) { live[d] = true })
	}
	counted := map[manifest.Digest]bool{}
	segments(x, func(d manifest.Digest, size int64) {
		o, isPut := r.put[d]
		switch {
		case isPut && o.size != size:
			err = fmt.Errorf("the index gives segment %s %d bytes, but %d were put", d, size, o.size)
		case isPut && !o.sent && !counted[d]:
			counted[d] = true
			reused += size
		case !isPut && live[d]:
			live[d] = false
			reused += size
		}
		if _, known := live[d]; !isPut && !known {
			err = fmt.Errorf("the index names segment %s, which was not put and is not of the previous version", d)
		}
	})
	return reused, err
}

// storeManifest stores the index and then the manifest that names it.
func (r *Run) storeManifest(ctx context.Context, m *manifest.Manifest, x *manifest.Index) (manifest.Snapshot, error) {
	body, rawSize, err := x.Marshal()
	if err != nil {
		return manifest.Snapshot{}, fmt.Errorf("write the index: %w", err)
	}
	m.Describe(x, manifest.Ref{Digest: manifest.Sum(body), Size: int64(len(body)), RawSize: rawSize})
	if m.Created == "" {
		m.Created = manifest.FormatTime(r.p.now())
	}
	if err := r.storeCounted(ctx, object{indexObject, m.Index.Digest}, body); err != nil {
		return manifest.Snapshot{}, err
	}
	if r.p.Addresses != nil {
		if m.IPFS, err = r.p.Addresses.Version(ctx, x, m.Index.Digest, body); err != nil {
			return manifest.Snapshot{}, fmt.Errorf("compute the addresses on IPFS: %w", err)
		}
	}
	r.setUses(m)
	if body, err = m.Marshal(); err != nil {
		return manifest.Snapshot{}, err
	}
	s := manifest.Snapshot{Version: m.Version, Manifest: manifest.Sum(body), Size: int64(len(body))}
	return s, r.storeCounted(ctx, object{manifestObject, s.Manifest}, body)
}

func (r *Run) storeCounted(ctx context.Context, o object, body []byte) error {
	sent, err := r.store(ctx, o, body)
	if sent && err == nil {
		r.uploaded += int64(len(body))
	}
	return err
}

// follow puts the snapshot before those of the present head. A head that was
// renewed or pruned since Begin, or has other manifests, still names the version this run builds on;
// one with another version means that somebody else published.
func (r *Run) follow(present *manifest.Head, s manifest.Snapshot) ([]manifest.Snapshot, error) {
	switch {
	case present == nil && r.newest == nil:
		return []manifest.Snapshot{s}, nil
	case present == nil:
		return nil, fmt.Errorf("%w: the head is gone from %s", ErrConflict, r.p.Targets[0])
	case r.newest == nil || present.Snapshots[0].Version != r.newest.Version: // its manifest may be another one: see RenewUses
		return nil, fmt.Errorf("%w: another agent published version %s (sequence %d) meanwhile",
			ErrConflict, present.Snapshots[0].Version, present.Sequence)
	}
	return append([]manifest.Snapshot{s}, present.Snapshots...), nil
}

// Close gives the channel free. It may be called twice.
func (r *Run) Close() error { return r.lock.Unlock() }
