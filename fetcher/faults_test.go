package fetcher_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
)

// withoutRanges are the faults of servers that know no ranges: they can serve
// segments, and not files of any length.
var withoutRanges = []string{"whole object for a range", "endless"}

// TestFaults restores from each kind of faulty server, alone and beside a good
// one. Whatever happens, a restore that says it succeeded is exact.
func TestFaults(t *testing.T) { bothLayouts(t, testFaults) }

func testFaults(t *testing.T, p *publisher) {
	want := sampleFiles()
	p.publish("20261122-040003", want)
	good := httptest.NewServer(http.FileServer(http.Dir(p.base)))
	t.Cleanup(good.Close)
	for _, fault := range sourcetest.Faults {
		if p.raw && slices.Contains([]string{"throttle", "reset", "forbidden", "stall", "redirect to itself"}, fault.Name) {
			continue // nothing of what is in the answer matters
		}
		alone := fault.Alone && (!p.raw || !slices.Contains(withoutRanges, fault.Name))
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			bad := fault.Serve(t, p.base)
			t.Run("beside a good one", func(t *testing.T) {
				target := filepath.Join(t.TempDir(), "db")
				mustRun(t, options(p, target, openSource(t, bad), openSource(t, good.URL)))
				sameContent(t, content(t, target), want)
			})
			if fault.Name == sourcetest.Stall.Name || testing.Short() {
				return // alone it takes minutes to give up, and no goroutines that the good one has not
			}
			t.Run("alone", func(t *testing.T) {
				target := filepath.Join(t.TempDir(), "db")
				_, err := fetcher.Run(context.Background(), options(p, target, openSource(t, bad)))
				switch {
				case alone && err != nil:
					t.Error(err)
				case alone:
					sameContent(t, content(t, target), want)
				case !errors.Is(err, fetcher.ErrNoSource):
					t.Errorf("error is %v", err)
				}
				if alone {
					return
				}
				// What has arrived is kept, and another source finishes it.
				mustRun(t, options(p, target, openSource(t, good.URL)))
				sameContent(t, content(t, target), want)
			})
		})
	}
}
