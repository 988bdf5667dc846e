package s3_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/targettest"
	"github.com/qsync/qsync/scripts/rgw"
)

// swapping are the parts of the suite that replace a pointer. Ceph compares the
// ETag of If-Match together with its quotes, so it always refuses to.
var swapping = []string{"PutReplacesBroken", "Swap", "SwapConcurrently", "UploadOrder", "TwoAgents"}

// TestCeph: the objects of a store of another vendor.
func TestCeph(t *testing.T) {
	t.Parallel()
	o := options(rgw.Start(t).Bucket(t))
	var n atomic.Int64
	targettest.Run(t, func(t *testing.T) publish.Target {
		_, name, _ := strings.Cut(t.Name(), "/")
		if slices.Contains(swapping, name) || strings.Contains(name, "Faults/") {
			t.Skip("Ceph cannot swap")
		}
		o := o
		o.Prefix = fmt.Sprintf("targets/%d", n.Add(1))
		return open(t, o)
	})
}
