package fetcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
)

// Repository is a publisher's tree as seen through several sources, none of
// which is trusted.
type Repository struct {
	Sources []Source
	Policy  trust.Policy
	Marks   trust.Marks
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger

	certified struct {
		sync.Mutex
		known  bool
		policy trust.Policy
		err    error // why the publisher's list of keys was not taken
	}
}

func (r *Repository) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// policy is the pinned policy, widened by the newest list of keys that the
// pinned keys have signed, where there is one.
func (r *Repository) policy(ctx context.Context) (trust.Policy, error) {
	c := &r.certified
	c.Lock()
	defer c.Unlock()
	if c.known {
		return c.policy, c.err
	}
	c.known, c.policy = true, r.Policy
	var newest int64
	var errs []error
	for _, reply := range r.ask(ctx, manifest.KeysKey, manifest.MaxKeysSize) {
		if reply.err != nil {
			continue // most publishers have none
		}
		policy, keys, err := r.Policy.Certify(reply.body, r.now())
		if err == nil {
			err = r.accept(r.Marks.Accept, r.Policy, "keys", keys.Sequence, keys)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list of keys from %s: %w", reply.source, err))
			r.Log.Warn("list of keys not taken", "source", reply.source.String(), "err", err)
			continue
		}
		if keys.Sequence > newest {
			newest, c.policy = keys.Sequence, policy
		}
	}
	if c.err = nil; newest == 0 { // else another source had a good one
		c.err = errors.Join(errs...)
	}
	return c.policy, c.err
}

// forgetKeys lets the list of keys be asked for again if none was taken.
func (r *Repository) forgetKeys() {
	r.certified.Lock()
	defer r.certified.Unlock()
	if r.certified.err != nil {
		r.certified.known = false
	}
}

// Catalog returns the newest catalog that any source holds.
func (r *Repository) Catalog(ctx context.Context) (*manifest.Catalog, error) {
	return newest(ctx, r, "catalog", manifest.CatalogKey, manifest.MaxCatalogSize,
		func(p trust.Policy, note []byte) (signed[*manifest.Catalog], error) {
			c, err := p.OpenCatalog(note, r.now())
			if err != nil {
				return signed[*manifest.Catalog]{}, err
			}
			return signed[*manifest.Catalog]{c, c.Sequence}, nil
		})
}

// Head returns the newest head of a channel that any source holds.
func (r *Repository) Head(ctx context.Context, channel string) (*manifest.Head, error) {
	if err := manifest.CheckChannel(channel); err != nil {
		return nil, err
	}
	return newest(ctx, r, "head "+channel, manifest.HeadKey(channel), manifest.MaxHeadSize,
		func(p trust.Policy, note []byte) (signed[*manifest.Head], error) {
			h, err := p.OpenHead(note, channel, r.now())
			if err != nil {
				return signed[*manifest.Head]{}, err
			}
			return signed[*manifest.Head]{h, h.Sequence}, nil
		})
}

// text is what is signed in the format: its Marshal is the signed text.
type text interface{ Marshal() ([]byte, error) }

// signed is a text whose signatures have been checked.
type signed[T text] struct {
	value    T
	sequence int64
}

// newest asks all sources for a signed object and keeps the one with the
// highest sequence, which must not be below the highest ever seen. Sources that
// lag behind are named: what they hold may still be of use.
func newest[T text](ctx context.Context, r *Repository, what, key string, limit int64,
	open func(trust.Policy, []byte) (signed[T], error),
) (T, error) {
	for {
		value, err := newestNow(ctx, r, what, key, limit, open)
		if err == nil || !r.mayBeCached(err) {
			return value, err
		}
		r.Log.Warn("a cache may be behind: asking again in a moment", "err", err)
		select {
		case <-ctx.Done():
			return value, ctx.Err()
		case <-time.After(askAgainAfter):
			r.forgetKeys()
		}
	}
}

const (
	// cacheTime is how long a cache may serve what a newer signature has replaced:
	// twice what it is told to keep it.
	cacheTime     = time.Minute
	askAgainAfter = 5 * time.Second
)

// mayBeCached reports whether an older text than was seen before is no reason for
// suspicion yet: a CDN has many caches, and the one that answers now may have asked
// before the one that answered a moment ago. An attacker gains that moment. What
// other sources have answered does not matter, for none had the newest.
func (r *Repository) mayBeCached(err error) bool {
	if refused, is := err.(*trust.Error); is && refused.Class == trust.Rollback { //nolint:errorlint // all are looked at
		seen, err := r.Marks.Time(r.Policy, refused.What)
		return err == nil && r.now().Sub(seen).Abs() < cacheTime
	}
	switch e := err.(type) { //nolint:errorlint // likewise
	case interface{ Unwrap() error }:
		return r.mayBeCached(e.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), r.mayBeCached)
	}
	return false
}

// newestNow is newest as the sources are at the moment.
func newestNow[T text](ctx context.Context, r *Repository, what, key string, limit int64,
	open func(trust.Policy, []byte) (signed[T], error),
) (T, error) {
	var best signed[T]
	policy, policyErr := r.policy(ctx)
	sequences := map[Source]int64{}
	var errs []error
	for _, reply := range r.ask(ctx, key, limit) {
		s, err := signed[T]{}, reply.err
		if err == nil {
			s, err = open(policy, reply.body)
		}
		if err == nil {
			err = r.accept(r.Marks.Check, policy, what, s.sequence, s.value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s from %s: %w", what, reply.source, err))
			continue
		}
		sequences[reply.source] = s.sequence
		if s.sequence > best.sequence {
			best = s
		}
	}
	if best.sequence == 0 {
		return best.value, worst(append(errs, policyErr))
	}
	for _, err := range errs {
		r.Log.Warn("source passed over", "err", err)
	}
	for s, sequence := range sequences {
		if sequence < best.sequence {
			r.Log.Warn("source lags behind", "source", s.String(), "object", what, "sequence", sequence, "newest", best.sequence)
		}
	}
	if err := r.accept(r.Marks.Accept, policy, what, best.sequence, best.value); err != nil {
		return best.value, fmt.Errorf("%s: %w", what, err)
	}
	return best.value, nil
}

// accept compares a text with the high-water mark by [trust.Marks.Check] or
// [trust.Marks.Accept].
func (r *Repository) accept(mark func(trust.Policy, string, int64, []byte) error, p trust.Policy, what string, sequence int64, t text) error {
	b, err := t.Marshal()
	if err != nil {
		return err
	}
	return mark(p, what, sequence, b)
}

// worst joins the errors of all sources so that the one that tells most about
// the cause gives the class: an untrusted answer before a missing object before
// a source that could not be reached.
func worst(errs []error) error {
	errs = foldConsent(errs)
	all := errors.Join(errs...)
	switch {
	case all == nil:
		return fmt.Errorf("%w: there are no sources", ErrNoSource)
	case errors.Is(all, trust.ErrUntrusted), errors.Is(all, context.Canceled):
		return all
	case errors.Is(all, ErrNotFound):
		for _, err := range errs {
			if err != nil && !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("%w: %w", ErrNoSource, err)
			}
		}
		return all
	}
	return fmt.Errorf("%w: %w", ErrNoSource, all)
}

// foldConsent takes the class from errors of sources that would cost money, unless
// all would: where a free one has failed, there is nothing to agree to.
func foldConsent(errs []error) []error {
	free := func(err error) bool { return err != nil && !errors.Is(err, ErrConsent) }
	if !slices.ContainsFunc(errs, free) {
		return errs
	}
	folded := slices.Clone(errs)
	for i, err := range folded {
		if errors.Is(err, ErrConsent) {
			folded[i] = errors.New(err.Error())
		}
	}
	return folded
}

// Manifest returns the manifest of a version that the channel's head names; an
// empty version means the newest.
func (r *Repository) Manifest(ctx context.Context, channel, version string) (*manifest.Manifest, error) {
	head, err := r.Head(ctx, channel)
	if err != nil {
		return nil, err
	}
	snapshot := head.Snapshots[0]
	if version != "" {
		i := slices.IndexFunc(head.Snapshots, func(s manifest.Snapshot) bool { return s.Version == version })
		if i < 0 {
			return nil, fmt.Errorf("version %s of channel %s: %w", version, channel, ErrNotFound)
		}
		snapshot = head.Snapshots[i]
	}
	return r.ManifestOf(ctx, channel, snapshot)
}

// ManifestOf returns the manifest of a version as the channel's head names it.
func (r *Repository) ManifestOf(ctx context.Context, channel string, s manifest.Snapshot) (*manifest.Manifest, error) {
	body, err := r.object(ctx, manifest.ManifestKey(s.Manifest), s.Manifest, s.Size)
	if err != nil {
		return nil, fmt.Errorf("manifest of version %s: %w", s.Version, err)
	}
	m, err := manifest.ParseManifest(body)
	if err != nil {
		return nil, fmt.Errorf("manifest of version %s: %w", s.Version, err)
	}
	if m.Channel != channel || m.Version != s.Version {
		return nil, fmt.Errorf("%w: the head of %s names %s, whose manifest is of %s %s",
			trust.ErrUntrusted, channel, s.Version, m.Channel, m.Version)
	}
	return m, nil
}

// Index returns the index of a manifest, and the object that it was read from.
func (r *Repository) Index(ctx context.Context, m *manifest.Manifest) (*manifest.Index, []byte, error) {
	for _, s := range r.Sources {
		if a, is := s.(Addressed); is { // it finds what is not at the key that it should be at
			if _, err := hasSegments(ctx, a, m.IPFS); err != nil {
				r.Log.Debug("source cannot say which trees it has", "source", s.String(), "err", err)
			}
		}
	}
	object, err := r.object(ctx, manifest.IndexKey(m.Index.Digest), m.Index.Digest, m.Index.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("index of version %s: %w", m.Version, err)
	}
	x, err := readIndex(m, object)
	return x, object, err
}

func readIndex(m *manifest.Manifest, object []byte) (*manifest.Index, error) {
	x, err := manifest.ReadIndex(bytes.NewReader(object), m.Index.RawSize)
	if err == nil {
		err = m.CheckIndex(x)
	}
	if err != nil {
		return nil, fmt.Errorf("index of version %s: %w", m.Version, err)
	}
	return x, nil
}

// slowestBytes a second, from a source that is slower than that nobody restores.
const slowestBytes = 16 << 10

// object gets an object of known digest and size from the first source that has
// the right bytes.
func (r *Repository) object(ctx context.Context, key string, digest manifest.Digest, size int64) ([]byte, error) {
	var errs []error
	for _, s := range r.Sources {
		most := askTime + time.Duration(size/slowestBytes)*time.Second
		body, err := within(ctx, most, func(ctx context.Context) ([]byte, error) {
			return backoff.Retry(ctx, func() ([]byte, error) { return readObject(ctx, s, key, size) }, backoff.WithMaxTries(smallObjectTries))
		})
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("get %s from %s: %w", key, s, err))
		case manifest.Sum(body) != digest:
			errs = append(errs, fmt.Errorf("get %s from %s: %w: its digest is %s", key, s, trust.ErrUntrusted, manifest.Sum(body)))
		default:
			for _, err := range errs {
				r.Log.Warn("source passed over", "err", err)
			}
			return body, nil
		}
	}
	return nil, worst(errs)
}

// readObject reads an object whose size is known: no more is read or allocated
// than that.
func readObject(ctx context.Context, s Source, key string, size int64) ([]byte, error) {
	body, err := s.Open(ctx, Span{Key: key, Length: size, Size: size})
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			err = backoff.Permanent(err)
		}
		return nil, err
	}
	defer body.Close()
	object := make([]byte, size)
	if _, err := io.ReadFull(body, object); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return object, nil
}
