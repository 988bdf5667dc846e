package chain_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot/chain"
)

func TestWatch(t *testing.T) {
	begin := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	var w chain.Watch
	for _, step := range []struct {
		name   string
		number int64
		after  time.Duration
		want   time.Duration
	}{
		{"the first", 100, 0, 0},
		{"the same", 100, 10 * time.Minute, 10 * time.Minute},
		{"still the same", 100, 20 * time.Minute, 20 * time.Minute},
		{"the next", 101, 21 * time.Minute, 0},
		{"the same as that", 101, 22 * time.Minute, time.Minute},
		{"a lower one", 7, 23 * time.Minute, 0},
		{"the same as that", 7, 33 * time.Minute, 10 * time.Minute},
		{"the clock set back", 7, -time.Hour, 0},
		{"the same after that", 7, -59 * time.Minute, time.Minute},
	} {
		if got := w.See(step.number, begin.Add(step.after)); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}

// The agent keeps it from one run of the program to the next.
func TestWatchIsKept(t *testing.T) {
	begin := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	var before, after chain.Watch
	before.See(100, begin)
	kept, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(kept, &after); err != nil {
		t.Fatal(err)
	}
	if got := after.See(100, begin.Add(time.Hour)); got != time.Hour {
		t.Errorf("%s, want an hour", got)
	}
}
