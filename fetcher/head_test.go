package fetcher_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
)

// oldHead has published two versions, of which the second one was fetched, and has
// the head of the first.
func oldHead(t *testing.T) (p *publisher, opts fetcher.Options, head []byte) {
	t.Helper()
	p = newPublisher(t)
	p.publish("20261121-040002", files{"a": []byte("1")})
	head, err := os.ReadFile(filepath.Join(p.base, testChannel, "head"))
	check(t, err)
	p.publish("20261122-040003", files{"a": []byte("2")})
	opts = options(p, filepath.Join(t.TempDir(), "db"))
	mustRun(t, opts)
	return p, opts, head
}

// setMarks sets the time of all marks.
func setMarks(t *testing.T, opts fetcher.Options, to time.Time) {
	t.Helper()
	marks, err := filepath.Glob(filepath.Join(opts.Repository.Marks.Dir, "*", "*"))
	check(t, err)
	for _, file := range marks {
		check(t, os.Chtimes(file, to, to))
	}
}

// TestCacheBehind: one of a CDN's caches has an older head than another one that was
// asked a moment ago.
func TestCacheBehind(t *testing.T) {
	_, opts, head := oldHead(t)
	synctest.Test(t, func(t *testing.T) {
		setMarks(t, opts, time.Now().Add(-20*time.Second))
		asked := 0
		opts.Repository.Sources = []fetcher.Source{&behind{Source: opts.Repository.Sources[0], head: head, asked: &asked}}
		opts.Repository.Now = nil
		if _, err := opts.Repository.Head(t.Context(), testChannel); err != nil || asked != behindFor+1 {
			t.Errorf("asked %d times: %v", asked, err)
		}
		// Nobody waits for ever.
		asked = -1000
		start := time.Now()
		_, err := opts.Repository.Head(t.Context(), testChannel)
		failure := (*trust.Error)(nil)
		if took := time.Since(start); !errors.As(err, &failure) || failure.Class != trust.Rollback || took > time.Minute {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

// TestCacheBehindAnother has a source beside the cache that sends junk.
func TestCacheBehindAnother(t *testing.T) {
	_, opts, head := oldHead(t)
	synctest.Test(t, func(t *testing.T) {
		setMarks(t, opts, time.Now().Add(-20*time.Second))
		good := opts.Repository.Sources[0]
		opts.Repository.Now = nil
		for _, first := range []bool{false, true} {
			asked := 0
			opts.Repository.Sources = []fetcher.Source{&behind{Source: good, head: head, asked: &asked}, &junk{good}}
			if first {
				slices.Reverse(opts.Repository.Sources)
			}
			if _, err := opts.Repository.Head(t.Context(), testChannel); err != nil || asked != behindFor+1 {
				t.Errorf("junk first %t: asked %d times: %v", first, asked, err)
			}
		}
	})
}

// junk is a source with something else in the place of the head.
type junk struct{ fetcher.Source }

func (j *junk) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	if key == testChannel+"/head" {
		return []byte("<html>"), nil
	}
	return j.Source.Get(ctx, key, limit)
}

const behindFor = 3

// behind answers with an older head at first.
type behind struct {
	fetcher.Source
	head  []byte
	asked *int
}

func (b *behind) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	if key != testChannel+"/head" {
		return b.Source.Get(ctx, key, limit)
	}
	if *b.asked++; *b.asked <= behindFor {
		return b.head, nil
	}
	return b.Source.Get(ctx, key, limit)
}

// TestCacheBehindWithKeys has a cache that is behind with the list of keys.
func TestCacheBehindWithKeys(t *testing.T) {
	secret, pinned, err := trust.GenerateKey("test.example.org")
	check(t, err)
	root, err := trust.NewSigner(secret)
	check(t, err)
	p := newPublisher(t)
	keys := func(sequence int64) []byte {
		list := &manifest.Keys{Publisher: "test.example.org", Sequence: sequence, Expires: p.expires, Verifiers: []string{p.verifier}}
		text, err := list.Marshal()
		check(t, err)
		signed, err := trust.Sign(text, root)
		check(t, err)
		return signed
	}
	p.publish("20261122-040003", files{"a": []byte("1")})
	p.put(manifest.KeysKey, keys(2))
	policy, err := trust.NewPolicy([]string{pinned}, 1)
	check(t, err)
	opts := options(p, filepath.Join(t.TempDir(), "db"))
	opts.Repository.Policy = policy
	mustRun(t, opts)

	for _, seen := range []time.Duration{20 * time.Second, time.Hour} {
		good, again := opts.Repository.Sources[0], p.repository()
		again.Policy, again.Marks = policy, opts.Repository.Marks
		old := keys(1)
		synctest.Test(t, func(t *testing.T) {
			setMarks(t, opts, time.Now().Add(-seen))
			again.Now = nil
			asked := 0
			again.Sources = []fetcher.Source{&keysBehind{good, old, &asked}}
			_, err := again.Head(t.Context(), testChannel)
			if soon := seen < time.Minute; soon != (err == nil) || soon && asked != behindFor+1 {
				t.Errorf("seen %s ago, asked %d times: %v", seen, asked, err)
			}
		})
	}
}

// keysBehind answers with an older list of keys at first.
type keysBehind struct {
	fetcher.Source
	keys  []byte
	asked *int
}

func (b *keysBehind) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	if key == manifest.KeysKey {
		if *b.asked++; *b.asked <= behindFor {
			return b.keys, nil
		}
	}
	return b.Source.Get(ctx, key, limit)
}

// TestRollback offers an older head than one that was seen.
func TestRollback(t *testing.T) {
	p, opts, head := oldHead(t)
	setMarks(t, opts, time.Now().Add(-time.Hour))
	p.put(testChannel+"/head", head)
	_, err := fetcher.Run(context.Background(), opts)
	if failure := (*trust.Error)(nil); !errors.As(err, &failure) || failure.Class != trust.Rollback {
		t.Errorf("error is %v", err)
	}
}

// TestNewestHeadWins has a mirror that lags behind beside one that does not.
func TestNewestHeadWins(t *testing.T) {
	p := newPublisher(t)
	p.publish("20261121-040002", files{"a": []byte("1")})
	mirror := t.TempDir()
	check(t, os.CopyFS(mirror, os.DirFS(p.base)))
	p.publish("20261122-040003", files{"a": []byte("2")})
	for _, bases := range [][]string{{mirror, p.base}, {p.base, mirror}} {
		result := mustRun(t, options(p, filepath.Join(t.TempDir(), "db"), openSource(t, bases[0]), openSource(t, bases[1])))
		if result.Manifest.Version != "20261122-040003" {
			t.Errorf("restored %s", result.Manifest.Version)
		}
	}
}
