package agent

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/snapshot/chain"
)

// TestLookout: whoever wants to know, the node is asked once every five minutes, and when
// something has happened; records are read when they have changed.
func TestLookout(t *testing.T) {
	file := configuration(t, "listen: 127.0.0.1:0\nalarms: { mail: { ses: { region: eu-west-1 }, from: qsync@example.org, to: [ops@example.org] } }", "rpc: http://127.0.0.1:1")
	synctest.Test(t, func(t *testing.T) {
		cfg, err := config.LoadAgent(file)
		must(t, err)
		var asked, told atomic.Int64
		ask := func(context.Context, *config.Agent, *config.Channel) (chain.Health, error) {
			asked.Add(1)
			return chain.Health{Peers: 5}, nil
		}
		l := newLookout(slog.New(slog.DiscardHandler), ask, func() { told.Add(1) })
		expect := func(n int64) {
			t.Helper()
			synctest.Wait()
			if asked.Load() != n || told.Load() != n {
				t.Errorf("%s: the node was asked %d times, and %d times was told of it; want %d", time.Now(), asked.Load(), told.Load(), n)
			}
		}
		l.configure(cfg)
		expect(1)
		if seen := l.last.Load(); seen.err != nil || seen.overview.Channels[0].Node.Peers != 5 || len(seen.targets) != 1 || seen.targets[0].err != nil {
			t.Errorf("%+v", seen)
		}
		time.Sleep(time.Hour + time.Minute)
		expect(13)
		l.look()
		expect(14)

		time.Sleep(longestRecord)
		synctest.Wait()
		before := l.notes.Load()
		time.Sleep(longestRecord / 2)
		synctest.Wait()
		if l.notes.Load() != before {
			t.Error("the records were read again though nothing had changed")
		}
		_, err = status.RunsIn(cfg.State).Start(status.Run{Channel: demo, Start: time.Now()})
		must(t, err)
		time.Sleep(recordInterval)
		synctest.Wait()
		if runs := l.notes.Load().channels[0].Runs; len(runs) != 1 || runs[0].Outcome != status.Running {
			t.Errorf("the run that has begun is not known: %+v", runs)
		}
		before = l.notes.Load()
		time.Sleep(longestRecord)
		synctest.Wait()
		if l.notes.Load() == before {
			t.Error("room on disks was not looked at again")
		}
		l.close()

		// Where nobody wants to know nobody asks.
		plain := *cfg
		plain.Alarms, plain.Listen = nil, ""
		l = newLookout(slog.New(slog.DiscardHandler), ask, func() { told.Add(1) })
		asked.Store(0)
		told.Store(0)
		l.configure(&plain)
		time.Sleep(time.Hour)
		expect(0)
		l.close()
	})
}

// TestRecordsBroken: what else is known is told.
func TestRecordsBroken(t *testing.T) {
	cfg := crowd(t)
	breakFile(t, status.RunsIn(cfg.State).File())
	r := readRecords(cfg)
	if r.err == nil || len(r.channels) != 0 || len(r.locations) != 150 || len(r.overview.Quota) != 1 {
		t.Errorf("%v, %d channels, %d locations", r.err, len(r.channels), len(r.locations))
	}
	told := map[string]float64{}
	tellRecords(func(m metric, value float64, _ ...string) { told[m.desc.String()] = value }, r)
	if told[metricRecordsSuccess.desc.String()] != 0 || told[metricLocationUp.desc.String()] != 1 {
		t.Errorf("%v", told)
	}
}

func breakFile(t *testing.T, file string) {
	t.Helper()
	must(t, os.WriteFile(file, []byte("not what it should be"), 0o644))
}
