package ipfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	mh "github.com/multiformats/go-multihash"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// What names are published with.
const (
	// nameTTL is how long others may go without looking whether a name stands for
	// something newer.
	nameTTL = 5 * time.Minute
	// nameLifetime is how long a name outlives its node. It is signed again at half.
	nameLifetime = 7 * 24 * time.Hour
	// putInterval is how often names are put into the DHT, whose nodes come and go.
	putInterval = 4 * time.Hour
	putTimeout  = 2 * time.Minute
	// firstRetry is when it is tried again that has failed; then after twice as long,
	// until that is longer than lastRetry.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// Announcement is what there is of a channel.
type Announcement struct {
	Channel string
	// Site is what the channel's name stands for.
	Site unixfs.CID
	// Roots are what others may look for: the roots of versions and of files. All
	// else is reached from there.
	Roots []unixfs.CID
}

// Announce makes known what there is of a channel, in place of what was announced of
// it before. It can be repeated, and goes on over restarts. It returns before
// anybody has heard of it.
func (n *Node) Announce(ctx context.Context, a Announcement) error {
	if err := n.Provide(ctx, a.Channel, append([]unixfs.CID{a.Site}, a.Roots...)); err != nil {
		return err
	}
	return n.PublishName(ctx, a.Channel, a.Site, nameTTL, nameLifetime)
}

// Provide tells the DHT, now and again and again, that the roots can be had here. They
// take the place of those that were provided for the channel before. Without a DHT
// it does nothing.
func (n *Node) Provide(_ context.Context, channel string, roots []unixfs.CID) error {
	if len(n.routers) == 0 {
		return nil
	}
	n.announcing.Lock()
	defer n.announcing.Unlock()
	stale, err := n.notAnnounced(channel, roots)
	if err != nil {
		return err
	}
	// What is provided is on record before it is begun and until it has ended: so each step
	// can be repeated, and nothing goes on that no record could end.
	err = n.state.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(announcedBucket).Put([]byte(channel), joinDigests(append(slices.Clone(roots), stale...)))
	})
	if err != nil {
		return fmt.Errorf("record what is announced of %s: %w", channel, err)
	}
	for _, t := range n.routers {
		if err := t.provider.StartProviding(false, hashes(roots)...); err != nil {
			return fmt.Errorf("provide the roots of %s: %w", channel, err)
		}
		if err := t.provider.StopProviding(hashes(stale)...); err != nil {
			return fmt.Errorf("stop providing old roots of %s: %w", channel, err)
		}
	}
	return n.state.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(announcedBucket).Put([]byte(channel), joinDigests(roots))
	})
}

// Retain ends what was announced of other channels than these.
func (n *Node) Retain(ctx context.Context, channels []string) error {
	var gone []string
	err := n.state.View(func(tx *bbolt.Tx) error {
		for _, bucket := range [][]byte{announcedBucket, namesBucket} {
			err := tx.Bucket(bucket).ForEach(func(channel, _ []byte) error {
				if !slices.Contains(channels, string(channel)) && !slices.Contains(gone, string(channel)) {
					gone = append(gone, string(channel))
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, channel := range gone {
		errs = append(errs, n.Provide(ctx, channel, nil), n.names.forget(channel))
	}
	return errors.Join(errs...)
}

// notAnnounced returns what was announced of the channel, and is no longer of any.
func (n *Node) notAnnounced(channel string, roots []unixfs.CID) (stale []unixfs.CID, err error) {
	keep := map[manifest.Digest]bool{}
	for _, c := range roots {
		keep[c.Digest] = true
	}
	err = n.state.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(announcedBucket)
		err := b.ForEach(func(other, saved []byte) error {
			if string(other) != channel {
				for _, d := range splitDigests(saved) {
					keep[d] = true
				}
			}
			return nil
		})
		for _, d := range splitDigests(b.Get([]byte(channel))) {
			if !keep[d] {
				stale = append(stale, unixfs.CID{Codec: unixfs.Raw, Digest: d})
			}
		}
		return err
	})
	return stale, err
}

// What is provided is known by its digest alone.
func joinDigests(roots []unixfs.CID) []byte {
	b := make([]byte, 0, len(roots)*manifest.DigestSize)
	for _, c := range roots {
		b = append(b, c.Digest[:]...)
	}
	return b
}

func splitDigests(b []byte) []manifest.Digest {
	var all []manifest.Digest
	for d := range slices.Chunk(b, manifest.DigestSize) {
		all = append(all, manifest.Digest(d))
	}
	return all
}

func hashes(roots []unixfs.CID) []mh.Multihash {
	all := make([]mh.Multihash, len(roots))
	for i, c := range roots {
		all[i] = hashOf(c)
	}
	return all
}

// PublishName lets the channel's name stand for a root. When it returns, the record is
// durable and the gateway serves it; it is put into the DHT after that, again and
// again, and signed again when half of its lifetime is over. ttl is how long others
// may believe it without looking again.
func (n *Node) PublishName(_ context.Context, channel string, root unixfs.CID, ttl, lifetime time.Duration) error {
	if err := n.names.set(channel, root, ttl, lifetime); err != nil {
		return err
	}
	select {
	case n.put <- struct{}{}:
	default: // it will be looked at anyway
	}
	return nil
}

// Name is the name on IPNS of a channel.
func (n *Node) Name(channel string) (string, error) { return n.options.Identity.Name(channel) }

// DNSLink is the text of the record that lets a host name stand for a channel.
func (n *Node) DNSLink(channel string) (string, error) { return n.options.Identity.DNSLink(channel) }

// keepNames keeps names alive, here and in the DHT.
func (n *Node) keepNames(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.put:
		case <-timer.C:
		}
		next, everywhere, err := n.putNames(ctx)
		if err != nil && ctx.Err() == nil {
			n.options.Log.Warn("names on IPNS are not everywhere up to date", "error", err)
		}
		if everywhere {
			retry = firstRetry
		} else {
			next, retry = min(next, retry), min(2*retry, lastRetry)
		}
		timer.Reset(next)
	}
}

// putNames renews names and puts them into the DHT. It returns when to do so again, if
// all went well.
func (n *Node) putNames(ctx context.Context) (next time.Duration, everywhere bool, err error) {
	idle, err := n.names.renew()
	errs := []error{err}
	everywhere = true
	for key, r := range n.names.all() {
		within, cancel := context.WithTimeout(ctx, putTimeout)
		done, err := put(within, n.routers, key, r.raw)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("put the name of %s into the DHT: %w", r.channel, err))
		}
		everywhere = everywhere && done
	}
	err = errors.Join(errs...)
	return min(idle, putInterval), everywhere && err == nil, err
}
