package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ServiceOptions say which pinning service it is.
type ServiceOptions struct {
	// Name is what the configuration calls it.
	Name string
	// URL is the endpoint of its Pinning Service API: https, or of this machine.
	URL string
	// TokenFile holds the token that the service has given out.
	TokenFile string
	// Trees are those that it is to keep.
	Trees []Tree
	// Publisher is the publisher's name.
	Publisher string
	// StateDir is where the status is kept.
	StateDir string
	// Wait is how long Mirror waits at most for a service that fetches; 0 is
	// DefaultWait.
	Wait time.Duration

	// Origins are the multiaddresses of the agent's node, each with /p2p/ and its
	// ID at the end: where the service finds the blocks. Nil is none.
	Origins func() []string
	// Connect connects the agent's node to the multiaddresses at which the service
	// says that it fetches. It is called again while blocks are on their way, so
	// it must do nothing for peers that are connected. Its error is for the status
	// alone: the service may find its way to the agent too. Nil is not to.
	Connect func(ctx context.Context, delegates []string) error
	// Changed is told how far it is; nil is nobody.
	Changed func(Pin)
}

// DefaultWait is how long Mirror waits for a service. What is not pinned then goes on
// at the service, and is waited for again by the next call.
const DefaultWait = 24 * time.Hour

// Service keeps versions at a pinning service, which fetches the blocks from the
// agent's node. Many databases have an empty file, whose block has no bytes: boxo's
// bitswap server takes a block of size 0 for one that it lacks, so the agent's node
// must not let it have that size, or services wait for it for ever.
//
// A service can have any number of pins of the same tree. So that there is one, it is
// asked for pins of that name and CID before each attempt to add one, and those that an
// attempt whose answer was lost has left are removed. An older version is dropped by
// Forget only, when the caller knows that the new one is pinned: to replace its pin by
// the new one, as the API can, would leave nothing pinned until the service has
// fetched all.
type Service struct {
	options ServiceOptions
	client  *http.Client
	ledger
}

var _ Mirror = (*Service)(nil)

// NewService returns the service. It asks it nothing.
func NewService(o ServiceOptions) *Service {
	o.URL = strings.TrimSuffix(o.URL, "/")
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	return &Service{
		options: o,
		client:  &http.Client{Transport: http.DefaultTransport, CheckRedirect: noRedirects},
		ledger:  ledger{o.StateDir, "pinning-" + o.Name, "pinning service " + o.Name},
	}
}

// String implements [Mirror].
func (s *Service) String() string { return s.title }

func (s *Service) psa() (*psa, error) {
	auth, err := readToken(s.options.TokenFile)
	if err != nil {
		return nil, err
	}
	return &psa{s.options.URL, s.client, auth}, nil
}

// ErrPending says that a service has not fetched all yet.
var ErrPending = errors.New("not pinned yet")

// Mirror implements [Mirror]: it adds the pins, and waits until the service has
// fetched the blocks. Error: ErrPending if that takes longer than Wait.
func (s *Service) Mirror(ctx context.Context, v Version) error {
	roots := v.roots(s.options.Trees)
	// All are on their way before any is waited for.
	var errs []error
	var added []*request
	for _, r := range roots {
		q := &request{service: s, root: r, name: name(s.options.Publisher, r.Channel, r.tree)}
		if err := q.ensure(ctx); err != nil {
			errs = append(errs, q.failed(ctx, err))
			continue
		}
		added = append(added, q)
	}
	for _, q := range added {
		if err := q.wait(ctx); err != nil {
			errs = append(errs, q.failed(ctx, err))
		}
	}
	return errors.Join(errs...)
}

// Forget implements [Mirror].
func (s *Service) Forget(ctx context.Context, channel string, keep []Version) error {
	err := s.drop(ctx, channel, keep)
	if err != nil {
		err = fmt.Errorf("drop old versions of %s at %s: %w", channel, s, err)
	}
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, s.forgotten(ctx, channel, keep, s.options.Trees, err))
}

func (s *Service) drop(ctx context.Context, channel string, keep []Version) error {
	api, err := s.psa()
	if err != nil {
		return err
	}
	known, err := s.Status()
	if err != nil {
		return err
	}
	cids, others := kept(keep, s.options.Trees), known.others(channel)
	for _, tree := range Trees {
		pins, err := retry(ctx, func() ([]pinStatus, error) { return api.list(ctx, name(s.options.Publisher, channel, tree), "") })
		if err != nil {
			return err
		}
		for _, p := range pins {
			if cids[p.Pin.CID] || others[p.Pin.CID] {
				continue
			}
			if _, err := retry(ctx, func() (struct{}, error) { return struct{}{}, api.remove(ctx, p.RequestID) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// best is the pin to keep of several of the same: one that is pinned, then one that is
// under way, of these the oldest.
func best(pins []pinStatus) (keep pinStatus, rest []pinStatus) {
	order := []State{Pinned, Pinning, Queued, Failed}
	slices.SortStableFunc(pins, func(a, b pinStatus) int {
		if a.Status != b.Status {
			return slices.Index(order, a.Status) - slices.Index(order, b.Status)
		}
		return a.Created.Compare(b.Created)
	})
	return pins[0], pins[1:]
}
