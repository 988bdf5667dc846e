package agent

import (
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/status"
)

// TestHeightConditions: what a node is unfit for is told once, as what it is.
func TestHeightConditions(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	cfg := &config.Agent{
		HeadTTL: config.Duration(3 * 24 * time.Hour),
		Channels: []config.Channel{{
			Name: "demo", MaxPause: config.Duration(30 * time.Second),
			Preflight: config.Preflight{MinHeight: 100, Stuck: config.Duration(15 * time.Minute)},
		}},
	}
	ill := func(height, still int64, reasons int) NodeHealth {
		return NodeHealth{State: "unhealthy", Detail: "DETAIL", Height: height, Still: still, reasons: reasons}
	}
	published := func(id uint64, version string, height int64, pause float64) status.Run {
		return status.Run{ID: id, Outcome: status.Published, Version: version, Height: height, PauseSeconds: pause}
	}
	cutOff := status.Run{ID: 9, Outcome: status.Failed, Error: "the pause is over: the node was held for 30s, the most that is allowed"}
	quick := &config.Alarms{Pause: config.Duration(100 * time.Millisecond)}
	for _, c := range []struct {
		name    string
		alarms  *config.Alarms
		channel Channel
		want    string
	}{
		{"well", nil, Channel{Node: NodeHealth{State: "healthy", Height: 100, Still: 900}}, ""},
		{"low", nil, Channel{Node: ill(99, 0, 1)}, "height demo: the node's final block is 99, below the lowest that is wanted, 100\n"},
		{"stuck", nil, Channel{Node: ill(100, 901, 1)}, "height demo: the node's final block has been 100 for 15m1s\n"},
		{"low and stuck", nil, Channel{Node: ill(7, 7200, 2)}, "height demo: the node's final block is 7, below the lowest that is wanted, 100; the node's final block has been 7 for 2h0m0s\n"},
		{"stuck and alone", nil, Channel{Node: ill(100, 901, 2)},
			"height demo: the node's final block has been 100 for 15m1s\nnode demo: the node is not fit to be published from: DETAIL\n"},
		{"alone", nil, Channel{Node: ill(100, 900, 1)}, "node demo: the node is not fit to be published from: DETAIL\n"},
		{"silent", nil, Channel{Node: ill(0, 0, 1)}, "node demo: the node is not fit to be published from: DETAIL\n"},
		{"grows", nil, Channel{Runs: []status.Run{published(2, "b", 11, 0), published(1, "a", 10, 0)}}, ""},
		{"does not grow", nil, Channel{Runs: []status.Run{published(4, "b", 10, 0), {Outcome: status.Failed, Error: "x"}, published(1, "a", 10, 0)}},
			"snapshots demo: the newest snapshot, b, ends at block 10, and the one before it, a, at 10\n"},
		{"not known", nil, Channel{Runs: []status.Run{published(2, "b", 0, 0), published(1, "a", 10, 0)}}, ""},
		{"half of max_pause", nil, Channel{Runs: []status.Run{published(2, "b", 0, 15)}}, ""},
		{"more", nil, Channel{Runs: []status.Run{published(2, "b", 0, 15.5)}}, "pause demo: run 2 held the node for 15.5s, longer than 15s\n"},
		{"more than configured", quick, Channel{Runs: []status.Run{published(2, "b", 0, 0.2)}}, "pause demo: run 2 held the node for 200ms, longer than 100ms\n"},
		{"cut off", nil, Channel{Runs: []status.Run{cutOff}}, "pause demo: run 9 was cut off: it held the node for 30.0 s, the most that is allowed\n"},
		{"cut off before", nil, Channel{Runs: []status.Run{published(10, "b", 0, 0.1), cutOff}}, ""},
	} {
		c.channel.Name, cfg.Alarms = "demo", c.alarms
		if got := kinds(channelConditions(cfg, &c.channel, now)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestDamageConditions: one for each target of what is broken, and of what was mended.
func TestDamageConditions(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	of := func(target, key string, mended time.Time) status.Damage {
		return status.Damage{Target: target, Key: key, Wrong: "it is missing", Versions: []string{"demo 1", "demo 2"}, Mended: mended}
	}
	got := damageConditions([]status.Damage{
		of("/a", "one", time.Time{}), of("/a", "two", time.Time{}), of("/a", "three", now),
		of("/b", "one", now.Add(-time.Hour)), of("/c", "one", now.Add(-25*time.Hour)), of("/d", "one", time.Time{}),
	}, now)
	want := "damage /a: 2 published objects are broken, and not mended; one: it is missing; needed by demo 2 and 1 more\n" +
		"damage /d: 1 published object is broken, and not mended; one: it is missing; needed by demo 2 and 1 more\n" +
		"damage /a (mended): of the published objects 1 were broken, and were mended; three: it is missing\n" +
		"damage /b (mended): of the published objects 1 were broken, and were mended; one: it is missing\n"
	if text := kinds(got); text != want {
		t.Errorf("%s, want %s", text, want)
	}
	for _, c := range got {
		if len(c.Advice) == 0 {
			t.Errorf("%+v", c)
		}
	}
}
