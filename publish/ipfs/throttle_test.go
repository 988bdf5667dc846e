package ipfs

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/qsync/qsync/manifest/unixfs"
)

func nothing() error { return nil }

func swallow(p []byte) (int, error) { return len(p), nil }

// TestThrottle: all that is sent together keeps to the limit, and each sender gets its part.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, each, senders = 4 << 20, 10 << 20, 4
		throttle := newThrottle(limit)
		begin := time.Now()
		ends := make([]time.Duration, senders)
		var all sync.WaitGroup
		for i := range senders {
			all.Go(func() {
				if n, err := throttle.write(t.Context(), make([]byte, each), nothing, swallow); n != each || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				ends[i] = time.Since(begin)
			})
		}
		all.Wait()
		const want = senders * each / limit * time.Second
		for _, end := range ends {
			if end < want*9/10 || end > want {
				t.Errorf("a sender has ended after %s, all together after %s", end, want)
			}
		}
	})
}

func TestThrottleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := newThrottle(1 << 20)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		n, err := throttle.write(ctx, make([]byte, 10<<20), nothing, swallow)
		if !errors.Is(err, context.DeadlineExceeded) && err == nil || n < 2<<20 || n > 4<<20 {
			t.Errorf("%d, %v", n, err)
		}
		gone := errors.New("gone")
		if n, err := newThrottle(0).write(t.Context(), make([]byte, 10<<20), func() error { return gone }, swallow); n != 0 || !errors.Is(err, gone) {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// TestBandwidth: the limit holds for both ways.
func TestBandwidth(t *testing.T) {
	const mib = 8
	_, links, blocks := plant(t, map[string][]byte{"file": random(1, mib*unixfs.LeafSize)})
	o := options(t, blocks)
	o.Bandwidth = 16 << 20
	n := start(t, o)
	begin := time.Now()
	ask(t, "GET", "http://"+n.Gateway()+"/ipfs/"+links["file"].String())
	c := newClient(t)
	c.connect(t, n)
	var want []cid.Cid
	for b := range blocks.blocks {
		want = append(want, libraryCID(b))
	}
	got, err := c.exchange(t).GetBlocks(t.Context(), want)
	must(t, err)
	for range got {
	}
	if took := time.Since(begin); took < 900*time.Millisecond {
		t.Errorf("%d MiB at %d MiB/s took %s", 2*mib, o.Bandwidth>>20, took)
	}
	o = options(t, blocks)
	o.Bandwidth = 1000
	if _, err := Start(t.Context(), o); !errors.Is(err, errSlow) {
		t.Error(err)
	}
}

// TestThrottleTooLate: whose turn would come after his time is told so, as of a peer that
// has taken nothing in time.
func TestThrottleTooLate(t *testing.T) {
	throttled := newThrottle(1 << 20)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := throttled.write(ctx, make([]byte, 1<<20), nothing, swallow)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("error %v, want that time is over", err)
	}
}
