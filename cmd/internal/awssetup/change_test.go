package awssetup

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/cmd/internal/awssetup/awstest"
	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
)

// spoiltAccount has everything, and one setting of each thing at CloudFront that can
// be changed is wrong.
func spoiltAccount(t *testing.T) (a *awstest.Account, want map[string]string) {
	t.Helper()
	a = awstest.New(t)
	mustRun(t, fullPlan(), Options{})
	want = state(a)
	for collection, resources := range a.CloudFront.State() {
		for id := range resources {
			a.CloudFront.Edit(collection, id, func(c *cloudfronttest.Node) {
				switch collection {
				case "distribution":
					c.Set("HttpVersion", "http2")
				case "origin-access-control":
					c.Set("Description", "spoilt")
				case "cache-policy", "response-headers-policy", "key-group":
					c.Set("Comment", "spoilt")
				}
			})
		}
	}
	return a, want
}

func isUpdate(r awstest.Request) bool {
	return r.Service == "CloudFront" && r.Method == http.MethodPut
}

// TestAnswersToChangesLost: each change happens, its answer is lost, and Amazon's
// library sends it again with a tag that does not fit any more.
func TestAnswersToChangesLost(t *testing.T) {
	a, want := spoiltAccount(t)
	lost := map[string]bool{}
	a.Break(&awstest.Fault{Applied: true, Passing: true, Code: "ServiceUnavailable", Hits: func(r awstest.Request, _ int) bool {
		first := isUpdate(r) && !lost[r.Path]
		if first {
			lost[r.Path] = true
		}
		return first
	}})
	if got := run(t, fullPlan(), Options{}); got.err != nil || got.Changed != 6 || len(lost) != 6 {
		t.Errorf("%v, %+v, lost the answers to %v", got.err, got.Result, lost)
	}
	if diff := cmp.Diff(want, state(a)); diff != "" {
		t.Errorf("(-want +is):\n%s", diff)
	}
}

// TestChangedMeanwhile: somebody touches the distribution between the look and the
// change. If that left it as it was it is changed all the same; if not, nobody is
// overruled.
func TestChangedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(c *cloudfronttest.Node)
		times int
		hint  string
	}{
		"touched":        {func(*cloudfronttest.Node) {}, 1, ""},
		"touched always": {func(*cloudfronttest.Node) {}, 100, "somebody has changed it meanwhile: run it again"},
		"changed":        {func(c *cloudfronttest.Node) { c.Set("WebACLId", "theirs") }, 1, "somebody has changed it meanwhile: run it again"},
		"put right":      {func(c *cloudfronttest.Node) { c.Set("HttpVersion", "http2and3") }, 1, ""},
	} {
		a, want := spoiltAccount(t)
		updates := 0
		a.Break(&awstest.Fault{Hits: func(r awstest.Request, _ int) bool {
			if isUpdate(r) && strings.Contains(r.Path, "/distribution/") {
				if updates++; updates <= c.times {
					for id := range a.CloudFront.State()["distribution"] {
						a.CloudFront.Edit("distribution", id, c.edit)
					}
				}
			}
			return false
		}})
		got := run(t, fullPlan(), Options{})
		if c.hint != "" {
			wantError(t, name, got.err, "CloudFront answers PreconditionFailed", c.hint)
			if strings.Contains(strings.Join(slices.Collect(maps.Values(state(a))), ""), "http2and3") || updates > 3 {
				t.Errorf("%s: overruled after %d updates", name, updates)
			}
			continue
		}
		if got.err != nil {
			t.Errorf("%s: %v", name, got.err)
		}
		if diff := cmp.Diff(want, state(a)); diff != "" {
			t.Errorf("%s (-want +is):\n%s", name, diff)
		}
	}
}
