package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/status"
)

// TestDay lives through a day with a run each hour. That no goroutine is left is what
// synctest itself sees to.
func TestDay(t *testing.T) {
	file := configuration(t, "", `schedule: "0 * * * *"`)
	var before int
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file).start()
		time.Sleep(time.Hour + 30*time.Minute)
		synctest.Wait()
		before = openFiles(t)
		time.Sleep(22*time.Hour + time.Minute)
		synctest.Wait()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if after := openFiles(t); after > before {
			t.Errorf("%d files are open after a run, %d after a day", before, after)
		}
		l.stop()
		runs := l.runs()
		if len(runs) != 24 {
			t.Errorf("%d runs in a day", len(runs))
		}
		for i, r := range runs {
			want := time.Date(2000, 1, 1, 1+i, 0, 0, 0, time.UTC)
			if r.Outcome != status.Published || r.Trigger != status.Scheduled || !r.Slot.Equal(want) || !r.Start.Equal(want) || r.Version == "" {
				t.Errorf("run %d: %+v", i, r)
			}
		}
		for _, words := range []string{`msg="run started" channel=demo-files run=7`, `msg=published channel=demo-files run=7`, `msg="next run" channel=demo-files slot=2000-01-02T01:00:00`} {
			if !strings.Contains(l.log.String(), words) {
				t.Errorf("the log lacks %s:\n%s", words, l.log.String())
			}
		}
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(files)
}

// TestMissed stops the agent over several slots: they are made up for once.
func TestMissed(t *testing.T) {
	file := configuration(t, "", `schedule: "0 * * * *"`)
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file).start()
		time.Sleep(90 * time.Minute)
		l.stop()
		time.Sleep(5 * time.Hour)
		for range 2 { // the second start has nothing to make up for
			l = begin(t, file).start()
			time.Sleep(time.Minute)
			synctest.Wait()
			l.stop()
		}
		runs := l.runs()
		if len(runs) != 2 || runs[1].Trigger != status.CatchUp || !runs[1].Slot.Equal(time.Date(2000, 1, 1, 6, 0, 0, 0, time.UTC)) {
			t.Errorf("%+v", runs)
		}
	})
}

// TestFailing lets runs fail, until the target can be written.
func TestFailing(t *testing.T) {
	file := configuration(t, "", `schedule: "0 4 * * *"`)
	out := filepath.Join(filepath.Dir(file), "out")
	must(t, os.WriteFile(out, nil, 0o644)) // a file in the place of the directory
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file).start()
		time.Sleep(4*time.Hour + 36*time.Minute) // at 4:00, 4:05, 4:15, 4:35
		synctest.Wait()
		if runs := l.runs(); len(runs) != 4 || runs[3].Outcome != status.Failed || !strings.Contains(runs[3].Error, "a file of that name is in the way") {
			t.Fatalf("%+v", runs)
		}
		must(t, os.Remove(out))
		time.Sleep(time.Hour)
		synctest.Wait()
		l.stop()
		runs := l.runs()
		if len(runs) != 5 || runs[4].Outcome != status.Published || runs[4].Start.Sub(runs[4].Slot) < 75*time.Minute {
			t.Errorf("%+v", runs)
		}
	})
}

// TestPostponed has a node that is not fit at first.
func TestPostponed(t *testing.T) {
	file := configuration(t, "", `schedule: "0 4 * * *"`)
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file)
		asked := 0
		l.agent.Preflight = func(*config.Agent, *config.Channel) Preflight {
			return func(context.Context) (*manifest.Block, *manifest.Node, error) {
				if asked++; asked == 1 {
					return nil, nil, errors.New("it has no peers")
				}
				return &manifest.Block{Number: 7, Hash: "0x" + strings.Repeat("ab", 32), Finalized: true}, nil, nil
			}
		}
		l.start()
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		l.stop()
		runs := l.runs()
		if len(runs) != 2 || runs[0].Outcome != status.Postponed || runs[1].Outcome != status.Published || runs[1].Height != 7 {
			t.Errorf("%+v", runs)
		}
		if !strings.Contains(l.log.String(), `level=WARN msg="the run is postponed"`) {
			t.Error(l.log.String())
		}
	})
}

// TestWatch looks at a node that is ill for an hour, and at one that is not
// looked at.
func TestWatch(t *testing.T) {
	file := configuration(t, "", "rpc: http://127.0.0.1:1\n    preflight: {stuck: 15m}")
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file)
		start, asked := time.Now(), 0
		l.agent.Watch = func(*config.Agent, *config.Channel) func(context.Context) error {
			return func(context.Context) error {
				asked++
				if age := time.Since(start); age > time.Hour && age < 2*time.Hour {
					return errors.New("it stands still")
				}
				return nil
			}
		}
		l.start()
		time.Sleep(3*time.Hour + time.Minute)
		synctest.Wait()
		l.stop()
		if asked != 3*60/5+1 {
			t.Errorf("the node was asked %d times", asked)
		}
		log := l.log.String()
		if strings.Count(log, `level=WARN msg="the node is not fit to be published from"`) != 1 || strings.Count(log, "the node is well again") != 1 {
			t.Error(log)
		}
	})
}

// TestStopped cuts a run off.
func TestStopped(t *testing.T) {
	file := configuration(t, "", `schedule: "0 4 * * *"`)
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file)
		l.agent.Preflight = func(*config.Agent, *config.Channel) Preflight {
			return func(ctx context.Context) (*manifest.Block, *manifest.Node, error) {
				<-ctx.Done() // a node that does not answer
				return nil, nil, ctx.Err()
			}
		}
		l.start()
		time.Sleep(4*time.Hour + time.Minute)
		synctest.Wait()
		l.stop()
		if runs := l.runs(); len(runs) != 1 || runs[0].Outcome != status.Interrupted || runs[0].End.IsZero() {
			t.Errorf("%+v", runs)
		}
		l = begin(t, file).start() // which makes up for it
		time.Sleep(time.Minute)
		synctest.Wait()
		l.stop()
		if runs := l.runs(); len(runs) != 2 || runs[1].Outcome != status.Published {
			t.Errorf("%+v", runs)
		}
	})
}

// TestRenewal has a channel that is published by hand, once.
func TestRenewal(t *testing.T) {
	file := configuration(t, "head_ttl: 6h", "")
	synctest.Test(t, func(t *testing.T) {
		cfg, err := config.LoadAgent(file)
		must(t, err)
		_, err = (&Publication{Config: cfg, Channel: &cfg.Channels[0]}).Run(t.Context())
		must(t, err)
		l := begin(t, file)
		time.Sleep(5 * time.Hour)
		l.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		if head := l.head(); head.Sequence != 2 || time.Until(head.Expires) < 5*time.Hour+30*time.Minute {
			t.Errorf("not renewed at the start: %+v", head)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		l.stop()
		head := l.head()
		if left := time.Until(head.Expires); left < 4*time.Hour-time.Minute {
			t.Errorf("%s are left", left)
		}
		if head.Sequence != 2+12 {
			t.Errorf("renewed %d times in a day", head.Sequence-2)
		}
	})
}

// TestRenewalFailing has a key that is not there for some time.
func TestRenewalFailing(t *testing.T) {
	file := configuration(t, "head_ttl: 6h", "")
	key := filepath.Join(filepath.Dir(file), "key")
	synctest.Test(t, func(t *testing.T) {
		cfg, err := config.LoadAgent(file)
		must(t, err)
		_, err = (&Publication{Config: cfg, Channel: &cfg.Channels[0]}).Run(t.Context())
		must(t, err)
		must(t, os.Rename(key, key+".away"))
		l := begin(t, file).start()
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		must(t, os.Rename(key+".away", key))
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		if head := l.head(); head.Sequence != 2 {
			t.Errorf("%+v", head)
		}
		l.stop()
		if n := strings.Count(l.log.String(), "the head is not renewed"); n < 3 || n > 10 {
			t.Errorf("tried %d times in three hours", n)
		}
	})
}

// TestReload gives the agent other configurations, among them one that is broken.
func TestReload(t *testing.T) {
	file := configuration(t, "", `schedule: "0 4 * * *"`)
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file).start()
		rewrite(t, file, "", `schedule: "four o'clock"`)
		l.reload <- os.Interrupt
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if runs := l.runs(); len(runs) != 1 || !strings.Contains(l.log.String(), "the old one stays") || !strings.Contains(l.log.String(), `hint="write minute, hour, day`) {
			t.Errorf("%+v\n%s", runs, l.log.String())
		}
		rewrite(t, file, "", `schedule: "0 1 * * *"`)
		l.reload <- os.Interrupt
		time.Sleep(time.Hour)
		synctest.Wait()
		if runs := l.runs(); len(runs) != 1 {
			t.Errorf("a slot before there was a schedule for it is served: %+v", runs)
		}
		time.Sleep(20 * time.Hour)
		synctest.Wait()
		if runs := l.runs(); len(runs) != 2 || runs[1].Slot.Hour() != 1 {
			t.Errorf("%+v", runs)
		}
		rewrite(t, file, "", "")
		l.reload <- os.Interrupt
		time.Sleep(50 * time.Hour)
		l.stop()
		if runs := l.runs(); len(runs) != 2 {
			t.Errorf("there is no schedule any more: %+v", runs)
		}
	})
}

// TestByHand publishes by hand while the agent is about to.
func TestByHand(t *testing.T) {
	file := configuration(t, "", `schedule: "0 4 * * *"`)
	synctest.Test(t, func(t *testing.T) {
		cfg, err := config.LoadAgent(file)
		must(t, err)
		l := begin(t, file).start()
		time.Sleep(4*time.Hour - time.Minute)
		hand := &Publication{Config: cfg, Channel: &cfg.Channels[0], Preflight: func(context.Context) (*manifest.Block, *manifest.Node, error) {
			time.Sleep(10 * time.Minute) // beyond the slot
			return nil, nil, nil
		}}
		_, err = hand.Run(t.Context())
		must(t, err)
		time.Sleep(time.Hour)
		synctest.Wait()
		l.stop()
		if runs := l.runs(); len(runs) != 1 || runs[0].Trigger != status.ByHand {
			t.Errorf("%+v", runs)
		}
		if !strings.Contains(l.log.String(), "qsyncd publish (process") {
			t.Errorf("the log does not say who was waited for:\n%s", l.log.String())
		}
	})
}

// TestLasting has runs that last over the next slot.
func TestLasting(t *testing.T) {
	file := configuration(t, "", `schedule: "0 * * * *"`)
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file)
		l.agent.Preflight = func(*config.Agent, *config.Channel) Preflight {
			return func(context.Context) (*manifest.Block, *manifest.Node, error) {
				time.Sleep(130 * time.Minute)
				return nil, nil, nil
			}
		}
		l.start()
		time.Sleep(6 * time.Hour)
		l.stop()
		// From 1:00 to 3:10; the slot of 2:00 is over then, that of 3:00 is made up for.
		runs := l.runs()
		if len(runs) != 3 || runs[1].Slot.Hour() != 3 || runs[1].Trigger != status.CatchUp || runs[1].Start.Sub(runs[0].End) > time.Second || runs[2].Slot.Hour() != 5 {
			t.Errorf("%+v", runs)
		}
	})
}

// TestBusy has two runs at once, of which the second does not wait.
func TestBusy(t *testing.T) {
	file := configuration(t, "", "")
	synctest.Test(t, func(t *testing.T) {
		cfg, err := config.LoadAgent(file)
		must(t, err)
		end := make(chan struct{})
		first := &Publication{
			Config: cfg, Channel: &cfg.Channels[0], Trigger: status.Scheduled, Slot: time.Now(),
			Preflight: func(context.Context) (*manifest.Block, *manifest.Node, error) {
				<-end
				return nil, nil, nil
			},
		}
		done := make(chan error, 1)
		go func() {
			_, err := first.Run(t.Context())
			done <- err
		}()
		synctest.Wait()
		_, err = (&Publication{Config: cfg, Channel: &cfg.Channels[0]}).Run(t.Context())
		want := fmt.Sprintf("channel demo-files: in use: the agent (process %d) is publishing since 2000-01-01 00:00:00", os.Getpid())
		if err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
		if hint := (interface{ Hint() string })(nil); !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "--wait") {
			t.Errorf("no hint: %v", err)
		}
		waited := make(chan error, 1)
		go func() {
			_, err := (&Publication{Config: cfg, Channel: &cfg.Channels[0], Wait: true}).Run(t.Context())
			waited <- err
		}()
		time.Sleep(time.Minute)
		close(end)
		must(t, <-done)
		must(t, <-waited)
	})
}

// TestLost has two agents on one channel, with a state directory each.
func TestLost(t *testing.T) {
	file := configuration(t, "", "")
	synctest.Test(t, func(t *testing.T) {
		cfg, err := config.LoadAgent(file)
		must(t, err)
		other := *cfg
		other.State = t.TempDir()
		p := &Publication{Config: cfg, Channel: &cfg.Channels[0], Trigger: status.Scheduled, Slot: time.Now()}
		p.Finishing = func() {
			_, err := (&Publication{Config: &other, Channel: &cfg.Channels[0]}).Run(t.Context())
			must(t, err)
		}
		if _, err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another agent published version") {
			t.Error(err)
		}
		if r := p.Record(); r.Outcome != status.Lost || !strings.Contains(r.Error, "another agent published version") {
			t.Errorf("%+v", r)
		}
	})
}

// TestOneAgent starts a second agent with the same state directory.
func TestOneAgent(t *testing.T) {
	file := configuration(t, "", "")
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file).start()
		second := begin(t, file)
		err := second.agent.Run(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the agent (process %d) is running since", os.Getpid())) {
			t.Error(err)
		}
		l.stop()
	})
}

// TestKilledRun finds a run on record that nobody makes any more.
func TestKilledRun(t *testing.T) {
	file := configuration(t, "", "")
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file)
		runs := status.RunsIn(filepath.Join(filepath.Dir(file), "state"))
		_, err := runs.Start(status.Run{Channel: demo, Trigger: status.ByHand, Start: time.Now()})
		must(t, err)
		l.start()
		time.Sleep(time.Second)
		synctest.Wait()
		l.stop()
		if got := outcomes(l.runs()); len(got) != 1 || got[0] != status.Interrupted {
			t.Error(got)
		}
	})
}

// TestUnfinished has a run killed between two targets: the agent brings the second
// one up when it starts.
func TestUnfinished(t *testing.T) {
	file := configuration(t, "", "")
	dir := filepath.Dir(file)
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, bytes.Replace(text, []byte("[{dir: {path: out}}]"), []byte("[{dir: {path: out}}, {dir: {path: mirror}}]"), 1), 0o644))
	publishOnce := func() {
		t.Helper()
		cfg, err := config.LoadAgent(file)
		must(t, err)
		_, err = (&Publication{Config: cfg, Channel: &cfg.Channels[0]}).Run(t.Context())
		must(t, err)
	}
	head := func(target string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, target, demo, "head"))
		must(t, err)
		return b
	}
	publishOnce()
	old := head("mirror")
	publishOnce()
	must(t, os.WriteFile(filepath.Join(dir, "mirror", demo, "head"), old, 0o644))
	_, err = status.RunsIn(filepath.Join(dir, "state")).Start(status.Run{Channel: demo, Trigger: status.ByHand, Start: time.Now()})
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file).start()
		time.Sleep(time.Second)
		synctest.Wait()
		l.stop()
	})
	if !bytes.Equal(head("mirror"), head("out")) {
		t.Error("the second target is still behind")
	}
}
