package targettest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/qsync/qsync/publish"
)

const pointerKey = "some-channel/head"

func testSwap(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	ctx := t.Context()
	if _, _, err := target.Load(ctx, pointerKey); !errors.Is(err, publish.ErrNotFound) {
		t.Fatalf("load of what is not there: %v, want ErrNotFound", err)
	}
	if err := target.Swap(ctx, pointerKey, "some-tag", []byte("1")); !errors.Is(err, publish.ErrConflict) {
		t.Errorf("swap of what is not there: %v, want ErrConflict", err)
	}
	var tags []string
	tag := ""
	for i := range 3 {
		body := strings.Repeat(fmt.Sprint(i), i+1)
		if err := target.Swap(ctx, pointerKey, tag, []byte(body)); err != nil {
			t.Fatalf("swap %d: %v", i, err)
		}
		got, now, err := target.Load(ctx, pointerKey)
		if err != nil || string(got) != body {
			t.Fatalf("load %d: %q, %v", i, got, err)
		}
		if now == "" || now == tag {
			t.Fatalf("tag %q of other content than that of tag %q", now, tag)
		}
		tags = append(tags, tag)
		tag = now
	}
	for _, old := range tags {
		if err := target.Swap(ctx, pointerKey, old, []byte("late")); !errors.Is(err, publish.ErrConflict) {
			t.Errorf("swap with an old tag %q: %v, want ErrConflict", old, err)
		}
	}
	if got, now, err := target.Load(ctx, pointerKey); err != nil || string(got) != "222" || now != tag {
		t.Errorf("refused swaps left %q with tag %q, %v", got, now, err)
	}
	if err := target.Swap(ctx, "other", "", make([]byte, publish.MaxMutableSize+1)); err == nil {
		t.Error("swap of more than MaxMutableSize bytes: no error")
	}
	if err := target.Swap(ctx, "other", "", make([]byte, publish.MaxMutableSize)); err != nil {
		t.Errorf("swap of MaxMutableSize bytes: %v", err)
	}
}

// testSwapConcurrently: of several with the same tag exactly one wins.
func testSwapConcurrently(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	const swappers, rounds = 8, 50
	target := newTarget(t)
	ctx := t.Context()
	tag := ""
	for round := range rounds {
		errs := make([]error, swappers)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range swappers {
			wg.Go(func() {
				<-start
				errs[i] = target.Swap(ctx, pointerKey, tag, fmt.Appendf(nil, "round %d swapper %d", round, i))
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: swappers %d and %d both won", round, winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, publish.ErrConflict):
				t.Errorf("round %d: swapper %d: %v, want ErrConflict", round, i, err)
			}
		}
		body, now, err := target.Load(ctx, pointerKey)
		if want := fmt.Sprintf("round %d swapper %d", round, winner); err != nil || string(body) != want {
			t.Fatalf("load: %q, %v, want %q", body, err, want)
		}
		tag = now
	}
}
