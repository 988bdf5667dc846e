package publish_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/targettest"
)

// cache notes what it is told, and looks whether all targets agree at that moment.
type cache struct {
	t       *testing.T
	targets []publish.Target
	fails   bool

	mu    sync.Mutex
	calls []string // the keys of each, with spaces between
}

func (c *cache) String() string { return "a cache" }

type cacheError struct{ error }

func (cacheError) Hint() string { return "mend the cache" }

func (c *cache) Invalidate(ctx context.Context, keys []string) error {
	for _, key := range keys {
		var first []byte
		for i, target := range c.targets {
			body, _, err := target.Load(ctx, key)
			if err != nil {
				c.t.Errorf("invalidated too early: %v", err)
			}
			if i == 0 {
				first = body
			} else if !bytes.Equal(body, first) {
				c.t.Errorf("%s is invalidated before all targets have it", key)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, strings.Join(keys, " "))
	if c.fails {
		return cacheError{errors.New("out of order")}
	}
	return nil
}

// told are the calls since the last time.
func (c *cache) told() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

const (
	theHead  = targettest.Channel + "/head"
	allKeys  = "catalog " + theHead
	otherKey = "other-channel/head"
)

// TestCaches goes through everything that changes mutable objects. Caches that
// fail are told the same, and change nothing.
func TestCaches(t *testing.T) {
	for _, fails := range []bool{false, true} {
		targets := newTargets(t, 3)
		s := newKeyStage(t, targets[:2]...)
		c := &cache{t: t, targets: targets[:2], fails: fails}
		other := &cache{t: t, targets: targets[:2], fails: fails}
		var log bytes.Buffer
		s.Publisher.Log = slog.New(slog.NewTextHandler(&log, nil))
		s.Publisher.Caches = []publish.Cache{c, other}
		p := s.Publisher
		ctx := t.Context()
		check := func(what string, err error, want ...string) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			for _, c := range []*cache{c, other} {
				if diff := cmp.Diff(want, c.told()); diff != "" {
					t.Errorf("%s (-want +told):\n%s", what, diff)
				}
			}
			warned := strings.Contains(log.String(), `level=WARN msg="published, but a cache may show what was there before for half a minute" cache="a cache"`) &&
				strings.Contains(log.String(), `error="out of order" hint="mend the cache"`)
			if warned != (fails && len(want) > 0) {
				t.Errorf("%s: warned is %t:\n%s", what, warned, log.String())
			}
			log.Reset()
		}

		_, err := s.Publish(ctx, p, 0)
		check("first publication", err, allKeys)
		_, err = s.Publish(ctx, p, 1)
		check("second publication", err, allKeys)
		s.WantPublished(1, 0)
		check("renewal", p.Renew(ctx, targettest.Channel), allKeys)
		check("another channel", publishTo(t, p, "other-channel"), "catalog "+otherKey)

		_, err = p.Prune(ctx, keep(1), grace, true)
		check("dry run of a prune", err)
		_, err = p.Prune(ctx, keep(2), grace, false)
		check("prune of nothing", err)
		_, err = s.Publish(ctx, p, 2)
		check("third publication", err, allKeys)
		_, err = p.Prune(ctx, keep(1), grace, false)
		check("prune", err, theHead)
		s.WantPublished(2)

		run, err := p.Begin(ctx, targettest.Channel)
		check("a run that begins", err)
		check("and ends with nothing", run.Close())

		_, err = s.certify(ctx, t, p, s.old, s.next)
		check("certified", err, "keys")
		by := s.signing(t, p, s.next)
		_, err = s.adopt(ctx, t, by)
		check("adopted", err, "catalog "+otherKey+" "+theHead)
		_, err = s.adopt(ctx, t, by)
		check("adopted again", err)

		// A target that is new is brought up.
		by.Targets = targets
		run, err = by.Begin(ctx, targettest.Channel)
		check("brought up", err, allKeys)
		check("closed", run.Close())
	}
}

// TestCachesOfPartial: what is public is told although the run has failed behind
// it; a run that loses tells nothing.
func TestCachesOfPartial(t *testing.T) {
	targets := newTargets(t, 2)
	broken := &hooked{Target: targets[1]}
	s := targettest.NewStage(t, targets[0], broken)
	c := &cache{t: t, targets: targets[:1]}
	s.Publisher.Caches = []publish.Cache{c}
	mustPublish(t, s, 0)
	c.told()

	broken.swap = func(string, func() error) error { return targettest.ErrInjected }
	receipt, err := s.Publish(t.Context(), s.Publisher, 1)
	if err == nil || receipt.Version != targettest.Version(1) {
		t.Fatalf("%+v, %v", receipt, err)
	}
	if diff := cmp.Diff([]string{allKeys}, c.told()); diff != "" {
		t.Errorf("the second target failed (-want +told):\n%s", diff)
	}
	broken.swap = nil
	run, err := s.Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	if diff := cmp.Diff([]string{allKeys}, c.told()); diff != "" {
		t.Errorf("the second target is brought up (-want +told):\n%s", diff)
	}

	x, err := targettest.PutGeneration(t.Context(), run, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context(), secondAgent(t, s), 3); err != nil {
		t.Fatal(err)
	}
	c.told()
	if _, err := run.Commit(t.Context(), targettest.NewManifest(2), x); !errors.Is(err, publish.ErrConflict) {
		t.Errorf("%v, want a conflict", err)
	}
	if told := c.told(); told != nil {
		t.Errorf("a run that has lost tells of %s", told)
	}
}

// TestCachesOfConflict: what others swap is theirs to tell.
func TestCachesOfConflict(t *testing.T) {
	target, _ := newDir(t)
	h := &hooked{Target: target}
	s := targettest.NewStage(t, h)
	mustPublish(t, s, 0)
	c := &cache{t: t}
	s.Publisher.Caches = []publish.Cache{c}
	h.swap = func(string, func() error) error { return publish.ErrConflict }
	if err := s.Publisher.Renew(t.Context(), targettest.Channel); !errors.Is(err, publish.ErrConflict) {
		t.Errorf("%v, want a conflict", err)
	}
	if told := c.told(); told != nil {
		t.Errorf("told of %s", told)
	}
}
