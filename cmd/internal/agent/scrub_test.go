package agent

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish/status"
)

// TestScrub lets something vanish beside an agent. It finds that within a day, the next
// run stores it anew, and then it is known to be whole.
func TestScrub(t *testing.T) {
	file := configuration(t, "", `schedule: "0 12 1,3 * *"`)
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file).start()
		look := func() *Overview {
			cfg, err := config.LoadAgent(file)
			must(t, err)
			o, err := Look(t.Context(), cfg, nil)
			must(t, err)
			return o
		}
		time.Sleep(13 * time.Hour) // a run on the 1st
		synctest.Wait()
		if runs := l.runs(); len(runs) != 1 || runs[0].Outcome != status.Published {
			t.Fatalf("%+v", runs)
		}
		must(t, os.RemoveAll(filepath.Join(filepath.Dir(file), "out", "segments")))
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		o := look()
		if o.OK || o.Scrub.Broken != 1 || len(o.Scrub.Damage) != 1 || len(damageConditions(o.damaged, clock())) != 1 {
			t.Fatalf("%+v, %+v", o, o.Scrub)
		}
		time.Sleep(24 * time.Hour) // and one on the 3rd
		synctest.Wait()
		if o = look(); len(l.runs()) != 2 || o.Scrub.Broken != 0 || len(o.damaged) != 1 || o.damaged[0].Mended.IsZero() {
			t.Errorf("%+v, %+v", l.runs(), o.Scrub)
		}
		if p := o.Scrub.Pass; p.Start.IsZero() || p.End.IsZero() || clock().Sub(p.Looked) > 24*time.Hour {
			t.Errorf("%+v", p)
		}
		l.stop()
	})
}

// TestScrubOtherKey: what an agent has published is its own after the key was changed
// beside it.
func TestScrubOtherKey(t *testing.T) {
	file := configuration(t, "", `schedule: "0 12 1 * *"`)
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, file).start()
		time.Sleep(13 * time.Hour) // a run on the 1st
		synctest.Wait()
		cfg, err := config.LoadAgent(file)
		must(t, err)
		_, former, err := readKeys(cfg.Key)
		must(t, err)
		secret, verifier, err := trust.GenerateKey("snapshots.example.org")
		must(t, err)
		must(t, os.WriteFile(cfg.Key, []byte(secret+"\n"), 0o600))
		p, err := NewPublisher(cfg, nil)
		must(t, err)
		both, err := trust.NewPolicy(append(former, verifier), 1)
		must(t, err)
		must(t, p.Adopt(t.Context(), both, []string{demo}))
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		o, err := Look(t.Context(), cfg, nil)
		must(t, err)
		if len(o.damaged) != 0 || o.Scrub.Pass.Error != "" || clock().Sub(o.Scrub.Pass.Looked) > 24*time.Hour {
			t.Errorf("%+v, %+v", o.damaged, o.Scrub.Pass)
		}
		l.stop()
	})
}

// TestTargetNames: what is on record of a target is found under its name in the
// configuration, and stores at several places may have buckets of the same name.
func TestTargetNames(t *testing.T) {
	for want, target := range map[string]config.Target{
		"/srv/qsync":                 {Dir: &config.DirTarget{Path: "/srv/qsync"}},
		"s3://b/raw":                 {S3: &config.S3Target{Bucket: "b", Prefix: "raw", Region: "eu-west-1"}},
		"s3://b at 127.0.0.1:9000":   {S3: &config.S3Target{Bucket: "b", Region: "eu-west-1", Endpoint: "http://127.0.0.1:9000"}},
		"s3://b/x at 127.0.0.1:9001": {S3: &config.S3Target{Bucket: "b", Prefix: "x", Region: "eu-west-1", Endpoint: "http://127.0.0.1:9001"}},
	} {
		open, err := openTarget(target)
		must(t, err)
		if target.String() != want || open.String() != want {
			t.Errorf("%s in the configuration, %s when it is open, want %s", target, open, want)
		}
	}
}
