package fetcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/scripts/s3server"
)

// oddFiles have names that a URL or a request's signature could trip over.
func oddFiles() files {
	return files{
		"full/a b+c&d=e.sst":  random(1, 3*mib+1),
		"full/100%25#1.sst":   random(2, mib),
		"full/(x)~'y'!$,;@[]": random(3, 17),
		"full/CURRENT":        []byte("MANIFEST-000001\n"),
	}
}

// TestRawFilesFromEverywhere restores raw files from each kind of place.
func TestRawFilesFromEverywhere(t *testing.T) {
	p := newPublisher(t)
	p.raw = true
	want := oddFiles()
	p.publish("20261122-040003", want)
	web := httptest.NewServer(http.FileServer(http.Dir(p.base)))
	t.Cleanup(web.Close)
	for name, from := range map[string]string{"dir": p.base, "http": web.URL, "s3": uploaded(t, p.base)} {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "db")
			result := mustRun(t, options(p, target, openSource(t, from)))
			sameContent(t, content(t, target), want)
			if layout := result.Plan.Sources[0].Layout; layout != "files" {
				t.Errorf("it serves %s", layout)
			}
		})
	}
}

// uploaded puts a tree into a bucket and returns its URL.
func uploaded(t *testing.T, tree string) string {
	t.Helper()
	server := s3server.Start(t)
	nowhere := filepath.Join(t.TempDir(), "nothing")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey, "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere,
	} {
		t.Setenv(name, value)
	}
	server.Upload(t, tree, "")
	return "s3://" + server.Bucket + "?region=" + server.Region + "&endpoint=" + url.QueryEscape(server.Endpoint)
}

// counted counts the bytes of data that a source sends.
type counted struct {
	fetcher.Source
	mu   sync.Mutex
	sent int64
}

func (c *counted) Open(ctx context.Context, span fetcher.Span) (io.ReadCloser, error) {
	if isData(span.Key) {
		c.mu.Lock()
		c.sent += span.Length
		c.mu.Unlock()
	}
	return c.Source.Open(ctx, span)
}

// TestMixedLayouts restores from segments and raw files at once, from two good
// places and from one that stands still, fails or lies beside a good one.
func TestMixedLayouts(t *testing.T) {
	p := newPublisher(t)
	want := sampleFiles()
	p.publish("20261122-040003", want)
	bases := map[string]string{"segments": p.base, "files": p.rawTwin("20261122-040003", want)}

	t.Run("both good", func(t *testing.T) {
		target := filepath.Join(t.TempDir(), "db")
		bySegment, byFile := &counted{Source: openSource(t, bases["segments"])}, &counted{Source: openSource(t, bases["files"])}
		result := mustRun(t, options(p, target, bySegment, byFile))
		sameContent(t, content(t, target), want)
		if bySegment.sent == 0 || byFile.sent == 0 {
			t.Errorf("segments sent %d bytes, files %d", bySegment.sent, byFile.sent)
		}
		sources := result.Plan.Sources
		if sources[0].Layout != "segments" || sources[1].Layout != "files" || sources[0].FetchBytes >= sources[1].FetchBytes ||
			result.Plan.FetchBytes != sources[1].FetchBytes {
			t.Errorf("the plan is %+v", result.Plan)
		}
	})
	for _, bad := range []string{"segments", "files"} {
		good := map[string]string{"segments": "files", "files": "segments"}[bad]
		for _, fault := range sourcetest.Faults {
			if !slices.Contains([]string{"stall", "lie", "gone after a while"}, fault.Name) {
				continue // TestFaults has them all
			}
			t.Run(bad+" "+fault.Name, func(t *testing.T) {
				t.Parallel()
				target := filepath.Join(t.TempDir(), "db")
				mustRun(t, options(p, target, openSource(t, fault.Serve(t, bases[bad])), openSource(t, bases[good])))
				sameContent(t, content(t, target), want)
			})
		}
	}
}

// TestProgressOfMixedLayouts ends at its total, though what was planned in the
// lengths of one layout has partly come in those of another.
func TestProgressOfMixedLayouts(t *testing.T) {
	p := newPublisher(t)
	want := files{"a": text(1, 40*mib), "b": text(2, 40*mib)}
	p.publish("20261122-040003", want)
	var last fetcher.Progress
	opts := options(p, filepath.Join(t.TempDir(), "db"), openSource(t, p.base), openSource(t, p.rawTwin("20261122-040003", want)))
	opts.Progress = func(p fetcher.Progress) { last = p }
	mustRun(t, opts)
	if last.FetchBytes != last.FetchedBytes || last.HeldBytes != last.RawBytes {
		t.Errorf("%+v", last)
	}
}

// TestMetaDecides shows meta files that do not fit the manifest: their source is
// taken for one of segments, and nothing fails for that.
func TestMetaDecides(t *testing.T) {
	p := newPublisher(t)
	want := files{"a": random(1, 2*mib)}
	m := p.publish("20261122-040003", want)
	for name, test := range map[string]struct{ meta, layout string }{
		"fits":            {fmt.Sprintf("size: %d\nlastBlock: 17\nversion: %s\n", m.RawSize, m.Version), "files"},
		"another version": {fmt.Sprintf("size: %d\nversion: 20261122-050003\n", m.RawSize), "segments"},
		"another size":    {fmt.Sprintf("size: %d\nversion: %s\n", m.RawSize+1, m.Version), "segments"},
		"no size":         {"version: " + m.Version + "\n", "segments"},
		"no number":       {"size: many\nversion: " + m.Version + "\n", "segments"},
		"a web page":      {"<!doctype html>", "segments"},
		"endless":         {strings.Repeat("x", manifest.MaxVersionMetaSize+1), "segments"},
		"empty":           {"", "segments"},
	} {
		t.Run(name, func(t *testing.T) {
			base := p.rawTwin(m.Version, want)
			check(t, os.CopyFS(filepath.Join(base, "segments"), os.DirFS(filepath.Join(p.base, "segments"))))
			check(t, os.WriteFile(filepath.Join(base, manifest.VersionMetaKey(testChannel, m.Version)), []byte(test.meta), 0o644))
			target := filepath.Join(t.TempDir(), "db")
			result := mustRun(t, options(p, target, openSource(t, base)))
			sameContent(t, content(t, target), want)
			if got := result.Plan.Sources[0].Layout; got != test.layout {
				t.Errorf("it serves %s, want %s", got, test.layout)
			}
		})
	}
}

// TestRawFilesReplaced has raw files cut short, made longer or replaced at the
// place that serves them: nothing of that gets into the target.
func TestRawFilesReplaced(t *testing.T) {
	p := newPublisher(t)
	p.raw = true
	want := files{"a": random(1, 26*mib), "b": random(2, 3*mib)}
	m := p.publish("20261122-040003", want)
	web := httptest.NewServer(http.FileServer(http.Dir(p.base)))
	t.Cleanup(web.Close)
	for name, body := range map[string][]byte{
		"cut short":   want["a"][:19*mib+7],
		"longer":      append(append([]byte{}, want["a"]...), 'x'),
		"another":     random(3, 26*mib),
		"empty":       {},
		"as it was":   want["a"],
		"turned to 0": make([]byte, 26*mib),
	} {
		for kind, from := range map[string]string{"dir": p.base, "http": web.URL} {
			t.Run(kind+" "+name, func(t *testing.T) {
				p.put(manifest.RawFileKey(testChannel, m.Version, "a"), body)
				opts := options(p, filepath.Join(t.TempDir(), "db"), openSource(t, from))
				opts.Patience = 100 * time.Millisecond
				_, err := fetcher.Run(context.Background(), opts)
				// In a directory nobody tells that a file goes on behind its end.
				if fits := name == "as it was" || name == "longer" && kind == "dir"; fits != (err == nil) {
					t.Errorf("error is %v", err)
				}
				if err == nil {
					sameContent(t, content(t, opts.Target), want)
				} else if !errors.Is(err, fetcher.ErrNoSource) {
					t.Errorf("error is %v", err)
				}
			})
		}
	}
}

// failingProbe is a place whose meta file cannot be had for some time.
type failingProbe struct {
	fetcher.Source
	err   error
	first int // requests for it that fail
	asked int
}

func (f *failingProbe) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	if strings.HasSuffix(key, "20261122-040003.meta.txt") {
		if f.asked++; f.asked <= f.first {
			return nil, f.err
		}
	}
	return f.Source.Get(ctx, key, limit)
}

// TestProbeFails has a place of raw files, which has nothing else, be unable to say
// so: for a moment, for long, and for good, as a store does that may not be listed.
func TestProbeFails(t *testing.T) {
	p := newPublisher(t)
	want := files{"a": random(1, 2*mib)}
	p.publish("20261122-040003", want)
	byFile := p.rawTwin("20261122-040003", want)
	soon := errors.New("server answered 503")
	for name, test := range map[string]struct {
		place   string
		err     error
		first   int
		layouts []string // of the plan; nil: it is left out
	}{
		"a moment":                  {byFile, soon, 4, []string{"files", "segments"}},
		"too long":                  {byFile, soon, 1000, []string{"segments"}},
		"forbidden, of segments":    {p.base, backoff.Permanent(errors.New("server answered 403")), 1000, []string{"segments", "segments"}},
		"not found, of segments":    {p.base, fetcher.ErrNotFound, 1000, []string{"segments", "segments"}},
		"too long, and of segments": {p.base, soon, 1000, []string{"segments"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := filepath.Join(t.TempDir(), "db")
			bad := &failingProbe{Source: openSource(t, test.place), err: test.err, first: test.first}
			result := mustRun(t, options(p, target, bad, openSource(t, p.base)))
			sameContent(t, content(t, target), want)
			var layouts []string
			for _, s := range result.Plan.Sources {
				layouts = append(layouts, s.Layout)
			}
			if !slices.Equal(layouts, test.layouts) {
				t.Errorf("layouts are %s, want %s", layouts, test.layouts)
			}
			if len(layouts) == 1 {
				bad.asked = 0
				refused(t, options(p, filepath.Join(t.TempDir(), "db"), bad), fetcher.ErrNoSource)
			}
		})
	}
}

// TestProbeRefusedForMoney has a source that would cost money be asked for its
// layout: it refuses, and the restore goes on without it.
func TestProbeRefusedForMoney(t *testing.T) {
	p := newPublisher(t)
	want := files{"a": random(1, 2*mib)}
	p.publish("20261122-040003", want)
	target := filepath.Join(t.TempDir(), "db")
	paid := refusing{fmt.Errorf("pay first: %w", fetcher.ErrConsent)}
	result := mustRun(t, options(p, target, paid, openSource(t, p.base)))
	sameContent(t, content(t, target), want)
	if layout := result.Plan.Sources[0].Layout; layout != "segments" {
		t.Errorf("it serves %s", layout)
	}
}
