package fetcher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
)

// TestResumeUnderAnotherManifest: the publisher has replaced the manifest meanwhile, and
// the restore goes on where it stopped, without looking at what it has.
func TestResumeUnderAnotherManifest(t *testing.T) {
	p := newPublisher(t)
	want := sampleFiles()
	m := p.publish("20261122-040003", want)
	target := filepath.Join(t.TempDir(), "db")
	interrupt(t, p, options(p, target), 20*mib)

	m.Locations = []manifest.Location{{Type: "cloudfront", URL: "https://d111111abcdef8.cloudfront.net", Use: manifest.UseNever}}
	body, err := m.Marshal()
	check(t, err)
	p.put(manifest.ManifestKey(manifest.Sum(body)), body)
	p.live[0].Manifest, p.live[0].Size = manifest.Sum(body), int64(len(body))
	p.sign()

	var log bytes.Buffer
	opts := options(p, target)
	opts.Log = slog.New(slog.NewTextHandler(&log, nil))
	result := mustRun(t, opts)
	sameContent(t, content(t, target), want)
	if most := m.StoredSize - 15*mib; result.FetchedBytes > most || strings.Contains(log.String(), "going on from an unfinished restore") {
		t.Errorf("%d bytes were fetched, want at most %d: %s", result.FetchedBytes, most, log.String())
	}
}

// TestLast: a source that is to be asked last is asked only for what no other one has,
// and when the others are gone.
func TestLast(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, tree string, segments []string) (asked []string)
	}{
		"all is there": {func(*testing.T, string, []string) []string { return nil }},
		"one is missing": {func(t *testing.T, tree string, segments []string) []string {
			check(t, os.Remove(filepath.Join(tree, segments[0])))
			return segments[:1]
		}},
		"nothing is there": {func(t *testing.T, tree string, segments []string) []string {
			check(t, os.RemoveAll(filepath.Join(tree, "segments")))
			return segments
		}},
		"it sends something else": {func(t *testing.T, tree string, segments []string) []string {
			for _, key := range segments {
				path := filepath.Join(tree, key)
				info, err := os.Stat(path)
				check(t, err)
				check(t, os.WriteFile(path, make([]byte, info.Size()), 0o600))
			}
			return segments
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			want := files{"big": random(1, 20*mib)}
			for i := range 30 { // enough for all connections
				want[fmt.Sprint(i)] = random(uint64(2+i), mib/4)
			}
			p.publish("20261122-040003", want)
			tree := t.TempDir()
			check(t, os.CopyFS(tree, os.DirFS(p.base)))
			paths, err := filepath.Glob(filepath.Join(tree, "segments", "*", "*"))
			check(t, err)
			var segments []string
			for _, path := range paths {
				segments = append(segments, strings.TrimPrefix(path, tree+"/"))
			}
			may := c.spoil(t, tree, segments)
			var asked []string
			last := &hooked{Source: openSource(t, p.base), before: func(s fetcher.Span) {
				if isData(s.Key) {
					asked = append(asked, s.Key)
				}
			}}
			opts := options(p, filepath.Join(t.TempDir(), "db"))
			opts.Places = func(context.Context, *manifest.Manifest) (*fetcher.Places, error) {
				return &fetcher.Places{Sources: []fetcher.Source{openSource(t, tree)}, Last: []fetcher.Source{last}, LeftOut: []string{"another"}}, nil
			}
			result := mustRun(t, opts)
			sameContent(t, content(t, opts.Target), want)
			for _, key := range asked {
				if !slices.Contains(may, key) {
					t.Errorf("it was asked for %s, which the other one has", key)
				}
			}
			if len(may) > 0 && len(asked) == 0 {
				t.Error("it was not asked")
			}
			plan := result.Plan
			if len(plan.Sources) != 2 || plan.Sources[0].Last || !plan.Sources[1].Last || !slices.Equal(plan.LeftOut, []string{"another"}) {
				t.Errorf("the plan says %+v, %v", plan.Sources, plan.LeftOut)
			}
		})
	}
}

// TestNoPlaces: what says where the data comes from fails.
func TestNoPlaces(t *testing.T) {
	p := newPublisher(t)
	p.publish("20261122-040003", files{"one": []byte("one")})
	opts := options(p, filepath.Join(t.TempDir(), "db"))
	why := errors.New("nowhere")
	opts.Places = func(context.Context, *manifest.Manifest) (*fetcher.Places, error) { return nil, why }
	if _, err := fetcher.Run(t.Context(), opts); !errors.Is(err, why) {
		t.Errorf("error is %v", err)
	}
}
