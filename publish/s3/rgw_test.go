package s3_test

import (
	"testing"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/publish/targettest"
	"github.com/qsync/qsync/scripts/rgw"
)

// TestCeph: a store of another vendor.
func TestCeph(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("all of it has run with another store")
	}
	next := prefixes(options(rgw.Start(t).Bucket(t)), nil)
	newTarget := func(t *testing.T) publish.Target { return open(t, next(t)) }
	t.Run("Segments", func(t *testing.T) { targettest.Run(t, newTarget) })
	t.Run("Files", func(t *testing.T) {
		targettest.RunFiles(t, func(t *testing.T) *s3.Files { return openFiles(t, next(t)) }, newTarget)
	})
}
