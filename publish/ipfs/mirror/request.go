package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// request is the pin of a root at a service.
type request struct {
	service *Service
	root    root
	name    string
	now     pinStatus // as the service has last said
}

func (q *request) failed(ctx context.Context, err error) error {
	err = fmt.Errorf("mirror %s at %s: %w", q.root, q.service, err)
	q.service.failed(ctx, q.root, err)
	return err
}

// Attempts: some seven minutes in all, for a service that is broken for a while. One
// that says when to come again is asked then, if that is not too late.
const (
	maxTries   = 12
	firstPause = time.Second
	maxPause   = time.Minute
	maxWait    = 10 * time.Minute
)

// retry calls attempt until it succeeds or its error would come again, at the pace
// that the service asks for.
func retry[T any](ctx context.Context, attempt func() (T, error)) (T, error) {
	var last error
	value, err := backoff.Retry(ctx, func() (T, error) {
		value, err := attempt()
		if err == nil {
			return value, nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		if !passes(err) {
			return value, backoff.Permanent(err)
		}
		if answer, ok := errors.AsType[*serviceError](err); ok && answer.wait > maxWait {
			return value, backoff.Permanent(fmt.Errorf("%w; it asks to come again after %s", err, answer.wait))
		} else if ok && sleep(ctx, answer.wait) != nil {
			return value, backoff.Permanent(ctx.Err())
		}
		return value, err
	}, backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(maxTries), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: firstPause, MaxInterval: maxPause, Multiplier: 2, RandomizationFactor: 0.3,
	}))
	if ended := ctx.Err(); err != nil && ended != nil && !errors.Is(last, ended) {
		return value, fmt.Errorf("%w: %w", ended, last)
	}
	return value, err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ensure makes that the service has one pin of the root, which has not failed.
func (q *request) ensure(ctx context.Context) error {
	// Whoever looks and then adds must be alone.
	unlock, err := q.service.lock(ctx, "add")
	if err != nil {
		return err
	}
	defer unlock()
	api, err := q.service.psa()
	if err != nil {
		return err
	}
	if len(q.name) > maxName {
		return fmt.Errorf("the name %.80q… has more than the %d characters of the API", q.name, maxName)
	}
	// Should this process end before it has an answer, the pin will be looked for.
	known, err := q.service.note(ctx, q.root, func(p *Pin) {
		if p.CID != q.root.CID.String() || p.State == "" {
			p.State, p.Request = Begun, ""
		}
	})
	if err != nil {
		return err
	}
	q.now, err = retry(ctx, func() (pinStatus, error) {
		found, err := q.find(ctx, api, known.Request)
		if err != nil || found.RequestID != "" && found.Status != Failed {
			return found, err
		}
		// One that has failed is replaced, so that there is still one.
		return api.add(ctx, found.RequestID, q.object())
	})
	if err != nil {
		return err
	}
	return q.noteNow(ctx)
}

// find returns the pin of the root if the service has one, and removes what it has
// beside it.
func (q *request) find(ctx context.Context, api *psa, known string) (pinStatus, error) {
	if known != "" {
		p, err := api.get(ctx, known)
		if err == nil && p.Pin.CID == q.root.CID.String() {
			return p, nil
		} else if err != nil && !status(err, http.StatusNotFound) {
			return pinStatus{}, err
		}
	}
	pins, err := api.list(ctx, q.name, q.root.CID.String())
	if err != nil || len(pins) == 0 {
		return pinStatus{}, err
	}
	keep, rest := best(pins)
	for _, p := range rest {
		if err := api.remove(ctx, p.RequestID); err != nil {
			return pinStatus{}, err
		}
	}
	return keep, nil
}

// object is what is asked for.
func (q *request) object() pinObject {
	o := pinObject{CID: q.root.CID.String(), Name: q.name, Meta: map[string]string{"qsync_version": q.root.Version.Version}}
	if q.service.options.Origins != nil {
		o.Origins = q.service.options.Origins()
		o.Origins = o.Origins[:min(len(o.Origins), maxOrigins)]
	}
	return o
}

// noteNow writes down what the service has said.
func (q *request) noteNow(ctx context.Context) error {
	p, err := q.service.note(ctx, q.root, func(p *Pin) {
		p.State, p.Request = q.now.Status, q.now.RequestID
		if p.State == Pinned {
			p.Error = ""
		}
	})
	if q.service.options.Changed != nil {
		q.service.options.Changed(p)
	}
	return err
}

// How often a service is asked how far it is: more often at first.
const (
	firstLook = 2 * time.Second
	maxLook   = 5 * time.Minute
	// maxForgotten is how often a service may know nothing of a pin that it has
	// taken.
	maxForgotten = 3
)

// wait returns when the service has pinned the root.
func (q *request) wait(ctx context.Context) error {
	deadline := time.Now().Add(q.service.options.Wait)
	forgotten := 0
	for pause := firstLook; ; pause = min(pause*3/2, maxLook) {
		switch q.now.Status {
		case Pinned:
			return nil
		case Failed:
			return q.gaveUp()
		case Queued, Pinning:
		default:
			return fmt.Errorf("the service says that the pin is %.40q, which the API does not know", string(q.now.Status))
		}
		q.connect(ctx)
		if time.Now().Add(pause).After(deadline) {
			return &adviceError{fmt.Errorf("%w: the service says %s for %s", ErrPending, q.now.Status, q.service.options.Wait),
				"it goes on at the service, and is looked at again; is the agent's node to be reached from outside?"}
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		api, err := q.service.psa()
		if err != nil {
			return err
		}
		before := q.now
		now, err := retry(ctx, func() (pinStatus, error) { return api.get(ctx, before.RequestID) })
		switch {
		case status(err, http.StatusNotFound):
			if forgotten++; forgotten > maxForgotten {
				return fmt.Errorf("the service has forgotten the pin %d times", forgotten)
			}
			if err := q.ensure(ctx); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			q.now = now
		}
		if q.now.Status != before.Status || q.now.RequestID != before.RequestID {
			pause = firstLook
			if err := q.noteNow(ctx); err != nil {
				return err
			}
		}
	}
}

// gaveUp is the error of a pin that has failed.
func (q *request) gaveUp() error {
	why := "it does not say why"
	if details := token("").blot(q.now.Info["status_details"]); details != "" {
		why = details
	}
	return &adviceError{fmt.Errorf("the service has given up: %s", why),
		"the next run asks for it again; is the agent's node to be reached from outside, and has the account room left?"}
}

// connect brings the agent's node to where the service fetches.
func (q *request) connect(ctx context.Context) {
	if q.service.options.Connect == nil {
		return
	}
	var delegates []string
	for _, d := range q.now.Delegates {
		// The node parses them; here only what cannot be one is left out.
		if strings.HasPrefix(d, "/") && strings.Contains(d, "/p2p/") && len(d) <= maxName && len(delegates) < maxDelegates {
			delegates = append(delegates, d)
		}
	}
	if len(delegates) == 0 {
		return
	}
	limited, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := q.service.options.Connect(limited, delegates); err != nil {
		q.service.failed(ctx, q.root, fmt.Errorf("connect to %s: %w", q.service, err))
	}
}
