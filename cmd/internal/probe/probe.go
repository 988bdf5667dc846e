// Package probe reads what is published at a location as those who fetch read it, to
// tell whether they can.
//
// A probe asks for head and catalog, believes nobody but the publisher's keys, follows
// the digests down to manifest and index, and reads a sample of the snapshot: spans of
// chunks that are drawn at random, each chunk checked. Where the manifest asks to take no
// data, index and sample are left out. What fails is tried again for some seconds, the very
// same spans too, before the location counts as down.
package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish/status"
)

// Reader probes places.
type Reader struct {
	Policy trust.Policy
	// Marks are the heads that were seen before, at any place. They are this reader's
	// own, and not those of somebody who fetches.
	Marks trust.Marks
	// Keys is the list of keys that is published, nil if there is none. Those who have
	// pinned a root need it. A cache may be behind where it is as new as KeysSince.
	Keys      []byte
	KeysSince time.Time
	// Sample is how many bytes of a snapshot a probe reads at most, but one chunk at
	// least.
	Sample int64
	// Patience is for how long what has failed is tried again. With none nobody waits
	// long for an answer either.
	Patience time.Duration
	// Ahead is how many probes' samples are drawn from an index at a time. 0 means one.
	Ahead int
	// Room is the memory that all readers have for indexes. See [NewRoom].
	Room *semaphore.Weighted
}

// indexRoom is what an index needs at most that has one file of a TiB.
const indexRoom = 48 << 20 // bytes

// NewRoom is memory for a large index, or for several that are not.
func NewRoom() *semaphore.Weighted { return semaphore.NewWeighted(indexRoom) }

const (
	// headTime is for how long a manifest is looked for, from the head down. It is longer
	// than a head may be behind.
	headTime = 2 * time.Minute
	// hurriedTime is that of somebody without patience.
	hurriedTime = 20 * time.Second
	// firstPause is before the second attempt; each further one is twice as long.
	firstPause = 500 * time.Millisecond
	// maxError is how much is kept of what went wrong.
	maxError = 500 // bytes
)

var errSlow = errors.New("it takes too long")

// Probe reads what is at a place. That it cannot be read is what the result says. An
// error is for what this machine cannot do.
func (r *Reader) Probe(ctx context.Context, p *Place) (status.Probe, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	start := time.Now()
	for pause := firstPause; ; pause *= 2 {
		seen := status.Probe{Channel: p.Channel, Location: p.Location}
		err := r.attempt(ctx, p, &seen)
		seen.At = time.Now().Round(0).UTC()
		switch {
		case ctx.Err() != nil:
			return seen, ctx.Err()
		case isLocal(err):
			return seen, err
		case err == nil:
			return seen, nil
		}
		if seen.Error = sentence(err); time.Since(start)+pause > r.Patience {
			return seen, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// isLocal reports whether an error says nothing about a location: the marks cannot be
// read or written.
func isLocal(err error) bool {
	refused := (*trust.Error)(nil)
	return errors.As(err, &refused) && refused.Class == trust.State
}

// sentence is an error on one line, and no longer than anybody reads.
func sentence(err error) string {
	text := strings.TrimPrefix(err.Error(), fetcher.ErrNoSource.Error()+": ") // there is one only
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\n", "; "), "?")
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + "…"
	}
	return text
}

// within calls read with so much time, and says so if that was not enough.
func within(ctx context.Context, most time.Duration, read func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, most, errSlow)
	defer cancel()
	err := read(ctx)
	if err != nil && context.Cause(ctx) == errSlow { //nolint:errorlint // it is that very one
		err = fmt.Errorf("%w: %w", errSlow, err)
	}
	return err
}

// attempt reads once, and notes what it sees.
func (r *Reader) attempt(ctx context.Context, p *Place, seen *status.Probe) error {
	start := time.Now()
	source, err := p.open()
	if err != nil {
		return err
	}
	defer p.close()
	most := headTime
	if r.Patience == 0 {
		most = hurriedTime
	}
	var m *manifest.Manifest
	err = within(ctx, most, func(ctx context.Context) (err error) {
		timed := &clock{Source: source, key: manifest.HeadKey(p.Channel), start: start, took: &seen.HeadSeconds}
		m, err = r.snapshot(ctx, p, timed, seen)
		return err
	})
	if err != nil || m.UseOf(p.Location) == manifest.UseNever {
		return err
	}
	if p.index != m.Index.Digest {
		p.spans = nil
	}
	if p.left() < r.Sample {
		if err := r.draw(ctx, p, source, m); err != nil {
			return err
		}
	}
	return r.readSample(ctx, p, source, m, seen)
}

// snapshot finds the newest version, from the head down to the manifest.
func (r *Reader) snapshot(ctx context.Context, p *Place, source fetcher.Source, seen *status.Probe) (*manifest.Manifest, error) {
	repository := &fetcher.Repository{
		Sources: []fetcher.Source{withoutKeys{source}}, Policy: r.Policy, Marks: r.Marks, Log: slog.New(slog.DiscardHandler),
	}
	if p.Late > 0 {
		repository.Marks.Dir = filepath.Join(r.Marks.Dir, "late")
	}
	head, err := repository.Head(ctx, p.Channel)
	if err != nil {
		return nil, err
	}
	newest := head.Snapshots[0]
	seen.Version, seen.Sequence, seen.Expires = newest.Version, head.Sequence, head.Expires
	if p.Late > 0 {
		if err := r.checkLate(head, p.Late); err != nil {
			return nil, fmt.Errorf("head %s from %s: %w", p.Channel, source, err)
		}
	}
	if err := r.checkKeys(ctx, source, max(cacheTime, p.Late)); err != nil {
		return nil, fmt.Errorf("list of keys from %s: %w", source, err)
	}
	catalog, err := repository.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(catalog.Channels, func(c manifest.CatalogChannel) bool { return c.Channel == p.Channel }) {
		return nil, fmt.Errorf("catalog from %s: %s is not in it", source, p.Channel)
	}
	m, err := repository.ManifestOf(ctx, p.Channel, newest)
	if err != nil {
		return nil, err
	}
	seen.SnapshotBytes = m.RawSize
	if m.Block != nil {
		seen.Height = m.Block.Number
	}
	return m, nil
}

// Note takes note of a head that is served somewhere: from now on older ones are behind.
// One that is behind itself is for the probe of its place to find.
func (r *Reader) Note(head *manifest.Head) error {
	text, err := head.Marshal()
	if err != nil {
		return err
	}
	if err = r.Marks.Accept(r.Policy, "head "+head.Channel, head.Sequence, text); isLocal(err) {
		return err
	}
	return nil
}

// cacheTime is how long a cache may be behind.
const cacheTime = time.Minute

// checkKeys compares the list of keys with the one that is published. Who signed it is
// nothing that the agent knows: the root is offline.
func (r *Reader) checkKeys(ctx context.Context, source fetcher.Source, behind time.Duration) error {
	if r.Keys == nil {
		return nil
	}
	keys, err := source.Get(ctx, manifest.KeysKey, manifest.MaxKeysSize)
	if err == nil && !bytes.Equal(keys, r.Keys) && time.Since(r.KeysSince).Abs() > behind {
		err = errors.New("it is not the one that is published")
	}
	return err
}

// withoutKeys is a source for a policy that has the publisher's own keys, and needs no
// list of them.
type withoutKeys struct{ fetcher.Source }

func (w withoutKeys) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	if key == manifest.KeysKey {
		return nil, fetcher.ErrNotFound
	}
	return w.Source.Get(ctx, key, limit)
}

// checkLate refuses a head that has been behind others for too long.
func (r *Reader) checkLate(head *manifest.Head, late time.Duration) error {
	text, err := head.Marshal()
	if err != nil {
		return err
	}
	what := "head " + head.Channel
	behind := r.Marks.Check(r.Policy, what, head.Sequence, text)
	if refused := (*trust.Error)(nil); errors.As(behind, &refused) && refused.Class == trust.Rollback {
		if seen, err := r.Marks.Time(r.Policy, what); err == nil && time.Since(seen).Abs() < late {
			return nil
		}
	}
	return behind
}
