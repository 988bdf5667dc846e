package publish_test

import (
	"context"
	"errors"
	"testing"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
)

// contested is a target on which somebody else is faster, so many times.
type contested struct {
	publish.Target
	times int
}

func (c *contested) Swap(ctx context.Context, key, tag string, body []byte) error {
	if c.times--; c.times >= 0 {
		_, now, err := c.Load(ctx, key)
		if err != nil && !errors.Is(err, publish.ErrNotFound) {
			return err
		}
		if err := c.Target.Swap(ctx, key, now, append([]byte("of another: "), byte('0'+c.times))); err != nil {
			return err
		}
	}
	return c.Target.Swap(ctx, key, tag, body)
}

// TestReplace: the last one has the page, and who is never the last one hears of it.
func TestReplace(t *testing.T) {
	target, err := dir.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, times := range []int{0, 0, 3} {
		if err := publish.PutPage(t.Context(), &contested{target, times}, publish.StatusKey, []byte("mine")); err != nil {
			t.Fatal(err)
		}
		if got, _, err := target.Load(t.Context(), publish.StatusKey); err != nil || string(got) != "mine" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := publish.PutPage(t.Context(), &contested{target, 1000}, publish.StatusKey, []byte("mine")); !errors.Is(err, publish.ErrConflict) {
		t.Errorf("against somebody who never ends: %v", err)
	}
}
