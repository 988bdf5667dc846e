package probe

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
)

// Place is a channel at a location. It remembers, from one probe to the next, what is to
// be read there.
type Place struct {
	Channel  string
	Location string // as people know it, without credentials
	// Open opens the location. A source that is an [io.Closer] is opened for each probe
	// anew.
	Open func() (fetcher.Source, error)
	// Files says that there are raw files in the place of segments.
	Files bool
	// Late is how much later than elsewhere a new head may be there. 0 is as with a
	// cache that nobody has told to forget the old one: about a minute.
	Late time.Duration

	mu     sync.Mutex // held by the probe
	source fetcher.Source
	index  manifest.Digest // that the spans are from
	spans  []span          // that come next
}

func (p *Place) open() (fetcher.Source, error) {
	if p.source == nil {
		source, err := p.Open()
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", p.Location, err)
		}
		p.source = source
	}
	return p.source, nil
}

func (p *Place) close() {
	if c, is := p.source.(io.Closer); is {
		_ = c.Close() // nothing was written
		p.source = nil
	}
}

// clock is a source that notes how long it took, from a start on, until an object was
// there.
type clock struct {
	fetcher.Source
	key   string
	start time.Time
	took  *float64 // seconds
}

func (c *clock) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	body, err := c.Source.Get(ctx, key, limit)
	if err == nil && key == c.key && *c.took == 0 {
		*c.took = time.Since(c.start).Seconds()
	}
	return body, err
}
