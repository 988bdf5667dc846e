package ipfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest/unixfs"
)

// several asks some for a block, one after the other, for what is small: for data each
// of them is a source of its own.
type several struct {
	timeout time.Duration // of each

	mu     sync.Mutex
	scores []*score
}

// score is how one of them does.
type score struct {
	Blocks
	failures int           // since it last had a block
	took     time.Duration // to get that
}

// severalTimeout is how long one of several may take for a block of what is small.
const severalTimeout = 10 * time.Second

// Several is those who have blocks as one. Whoever did best lately is asked first.
func Several(all ...Blocks) Blocks {
	s := &several{timeout: severalTimeout}
	for _, b := range all {
		s.scores = append(s.scores, &score{Blocks: b})
	}
	return s
}

// String implements [Blocks].
func (s *several) String() string { return fmt.Sprintf("%d peers and gateways", len(s.scores)) }

// Get implements [Blocks]. The digest of what it returns is right.
func (s *several) Get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	var errs []error
	missing := 0
	for _, b := range s.best() {
		start := time.Now()
		block, err := s.get(ctx, b, c)
		s.note(b, time.Since(start), err)
		if err == nil || ctx.Err() != nil {
			return block, err
		}
		if errors.Is(err, fetcher.ErrNotFound) {
			missing++
		}
		errs = append(errs, fmt.Errorf("from %s: %w", b, err))
	}
	all := errors.Join(errs...)
	if missing < len(errs) {
		// Who could not be asked may have it.
		return nil, errors.New(all.Error())
	}
	return nil, all
}

func (s *several) get(ctx context.Context, b Blocks, c unixfs.CID) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("no answer for %s", s.timeout))
	defer cancel()
	block, err := checked(ctx, b, c)
	if errors.Is(err, context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	return block, err
}

// best returns all of them, in the order in which they are to be asked.
func (s *several) best() []*score {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.scores, func(a, b *score) int {
		return cmp.Or(cmp.Compare(a.failures, b.failures), cmp.Compare(a.took, b.took))
	})
	return slices.Clone(s.scores)
}

// note counts what one of them did. That it does not have a block is no fault, but
// others may have the next one too.
func (s *several) note(b *score, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		b.failures++
		return
	}
	b.failures, b.took = 0, took
}
