// Package publish makes a snapshot public: objects first, the signed head last.
//
// A location is an object store. Segments, indexes and manifests are immutable
// and named by their digest; a channel's head is one small signed object that
// names the live manifests. To publish is to add objects that nobody names yet
// and then to replace the head by compare-and-swap: that swap is the commit.
//
//	Begin   lock the channel, load and verify the heads, finish what an earlier run left
//	Put     store segments on every target; what is there already is not sent again
//	Commit  store index and manifest, check every new object as a stranger would,
//	        sign the head, swap it on the first target (this decides), then on the
//	        others, then the catalog; let the caches forget the old ones
//
// A crash before the swap leaves objects that nobody names, which Prune removes
// after a while. A crash after it leaves targets behind the first one, and the
// next Begin brings them up by the same code. Two agents on one channel are
// harmless as long as they list the same target first: one of them loses the
// swap and its run ends with ErrConflict.
//
// Prune goes the other way round: it takes old versions out of the head, lets
// their objects live on for those who are restoring them, and deletes what no
// head of any channel names any more.
//
// A [Scrub] looks after what was published, on each target: it reads all that the heads
// lead to, and replaces what has rotted by what is whole elsewhere. When the places of
// versions are to be used in another way, [Publisher.RenewUses] signs other manifests of
// the same versions. Two objects are signed by nobody, for people and for programs: see
// [StatusPageKey].
package publish

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
)

// DefaultHeadTTL is how long a head is valid after it was signed.
const DefaultHeadTTL = 7 * 24 * time.Hour

// Publisher is who publishes, with which keys, to where.
type Publisher struct {
	// Name is the publisher's, as the catalog says it.
	Name string
	// Targets are the locations. The first one decides races: agents that share
	// a channel must list the same one first. It cannot be one of [Files].
	Targets []Target
	// Caches stand before the targets, and are told what has changed there.
	Caches []Cache
	// Addresses gives versions their names on IPFS; nil is none.
	Addresses Addresses
	// Uses sets how those who fetch are asked to use the places that a manifest names: it
	// changes each Use and nothing else. nil leaves them as they are. With an error a new
	// version is like the one before it.
	Uses func(*manifest.Manifest) error
	// Signers sign heads and catalogs, all of them each time.
	Signers []note.Signer
	// Policy is what those who fetch trust. What the targets hold must satisfy
	// it, apart from its expiry, and so must what the Signers sign.
	Policy trust.Policy
	// StateDir holds the locks of the channels and the sequences that were used.
	StateDir string
	// HeadTTL is how long a signature is valid; 0 means DefaultHeadTTL.
	HeadTTL time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log may be nil.
	Log *slog.Logger

	swapped map[string]bool // keys, by this operation; nil outside of one
}

// Begin starts a run on a channel: it locks the channel, verifies what the
// targets hold, and finishes what an earlier run left undone. The run must be
// closed. Error: ErrInUse if another process has the lock.
func (p *Publisher) Begin(ctx context.Context, channel string) (*Run, error) {
	lock, err := p.lock(channel)
	if err != nil {
		return nil, err
	}
	r := &Run{p: p.operation(), channel: channel, name: rand.Text(), lock: lock, put: map[manifest.Digest]putObject{}}
	err = r.load(ctx)
	r.p.invalidate(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin to publish %s: %w", channel, err), r.Close())
	}
	return r, nil
}

// Renew signs the head and the catalog of a channel again, with a new expiry
// and nothing else changed.
func (p *Publisher) Renew(ctx context.Context, channel string) error {
	op := p.operation()
	defer op.invalidate(ctx)
	return op.renew(ctx, channel)
}

func (p *Publisher) renew(ctx context.Context, channel string) error {
	lock, err := p.lock(channel)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := p.signAgain(ctx, channel); err != nil {
		return fmt.Errorf("renew %s: %w", channel, err)
	}
	return nil
}

func (p *Publisher) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

func (p *Publisher) log() *slog.Logger {
	if p.Log != nil {
		return p.Log
	}
	return slog.New(slog.DiscardHandler)
}

// expiry is when what is signed now stops being believed.
func (p *Publisher) expiry() time.Time {
	ttl := p.HeadTTL
	if ttl == 0 {
		ttl = DefaultHeadTTL
	}
	return p.now().Add(ttl).UTC().Truncate(time.Second)
}

// check reports whether the publisher can work at all.
func (p *Publisher) check() error {
	if len(p.Targets) == 0 {
		return errors.New("no targets: configure at least one location to publish to")
	}
	_, files := filesOf(p.Targets[0])
	switch {
	case p.Name == "":
		return errors.New("publisher without a name")
	case files:
		return errors.New("the first target holds files and no segments: put one with segments before it")
	case len(p.Signers) == 0:
		return errors.New("no signing key")
	case p.StateDir == "":
		return errors.New("no state directory")
	}
	return nil
}
