package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
	"github.com/qsync/qsync/publish/quota"
)

// record puts on record what a quota has delivered in a month.
func record(t *testing.T, state, name string, month time.Time, bytes, most int64) {
	t.Helper()
	m := quota.Month{Start: time.Date(month.Year(), month.Month(), 1, 0, 0, 0, 0, time.UTC), Bytes: bytes, Most: most}
	must(t, alarm.In(state).Update(func(tx *alarm.Tx) error {
		return tx.SetMark("quota/"+name+"/"+m.Start.Format("2006-01"), m)
	}))
}

var (
	oneCDN   = config.Target{S3: &config.S3Target{Bucket: "a"}, CloudFront: &config.CloudFront{Distribution: "E1", URL: "https://one.cloudfront.net"}}
	otherCDN = config.Target{S3: &config.S3Target{Bucket: "b"}, CloudFront: &config.CloudFront{Distribution: "E2", URL: "https://other.cloudfront.net"}}
	free     = config.Target{S3: &config.S3Target{Bucket: "free"}}
	paid     = config.Target{S3: &config.S3Target{Bucket: "paid", RequesterPays: true}}
)

// TestUses: what is on record of the month says how places are to be used.
func TestUses(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	limit := func(distribution, then string) config.Quota {
		return config.Quota{Source: config.SourceCloudWatch, Distribution: distribution, Limit: 50e12, Then: then}
	}
	type bytesOf struct {
		distribution string
		month        time.Time
		bytes, most  int64
	}
	for _, c := range []struct {
		name   string
		quotas []config.Quota
		known  []bytesOf
		want   string // uses of one, other, free, paid; and of IPFS
	}{
		{"nothing is known", []config.Quota{limit("E1", "stop-cdn")}, nil, "///;"},
		{"below", []config.Quota{limit("E1", "stop-cdn")}, []bytesOf{{"E1", now, 50e12 - 1, 50e12 - 1}}, "///;"},
		{"of the month before", []config.Quota{limit("E1", "stop-cdn")}, []bytesOf{{"E1", now.AddDate(0, -1, 0), 60e12, 60e12}}, "///;"},
		{"of another", []config.Quota{limit("E1", "stop-cdn")}, []bytesOf{{"E2", now, 60e12, 60e12}}, "///;"},
		{"no limit", []config.Quota{{Source: config.SourceCloudWatch, Distribution: "E1"}}, []bytesOf{{"E1", now, 60e12, 60e12}}, "///;"},
		{"stop-cdn", []config.Quota{limit("E1", "stop-cdn")}, []bytesOf{{"E1", now, 50e12, 50e12}}, "never///;"},
		{"corrected since", []config.Quota{limit("E1", "stop-cdn")}, []bytesOf{{"E1", now, 40e12, 50e12}}, "never///;"},
		{"prefer-ipfs", []config.Quota{limit("E2", "prefer-ipfs")}, []bytesOf{{"E2", now, 51e12, 51e12}}, "/last//;"},
		{"requester-pays-only", []config.Quota{limit("E1", "requester-pays-only")}, []bytesOf{{"E1", now, 51e12, 51e12}}, "never/never/never/;never"},
		{"two", []config.Quota{limit("E1", "prefer-ipfs"), limit("E2", "stop-cdn")}, []bytesOf{{"E1", now, 51e12, 51e12}, {"E2", now, 51e12, 51e12}}, "last/never//;"},
		{"the stricter one", []config.Quota{limit("E1", "requester-pays-only"), limit("E2", "prefer-ipfs")}, []bytesOf{{"E1", now, 51e12, 51e12}, {"E2", now, 51e12, 51e12}}, "never/never/never/;never"},
	} {
		a := &config.Agent{State: t.TempDir(), Targets: []config.Target{oneCDN, otherCDN, free, paid}, Quota: c.quotas}
		for _, k := range c.known {
			record(t, a.State, k.distribution, k.month, k.bytes, k.most)
		}
		u, err := usesNow(a, now)
		must(t, err)
		m := &manifest.Manifest{Locations: locations(a.Targets), IPFS: &manifest.IPFS{}}
		m.Locations[0].Use = "never" // is taken back
		must(t, u.set(m))
		var got []string
		for _, l := range m.Locations {
			got = append(got, string(l.Use))
		}
		if text := strings.Join(got, "/") + ";" + string(m.IPFS.Use); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
		if u.usual() != (c.want == "///;") {
			t.Errorf("%s: usual is %t", c.name, u.usual())
		}
	}
	u := uses{}
	must(t, u.set(&manifest.Manifest{})) // no place and no tree
}

// limitStage is a loop without its agent, with a channel that is published behind a
// distribution.
type limitStage struct {
	*testing.T
	loop *loop
	conf *config.Agent
	log  bytes.Buffer
}

func newLimitStage(t *testing.T) *limitStage {
	t.Helper()
	control := httptest.NewServer(&cloudfronttest.API{})
	t.Cleanup(control.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_CLOUDFRONT": control.URL, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2",
		"AWS_REGION": "us-east-1", "AWS_PROFILE": "", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	conf, err := config.LoadAgent(configuration(t, "", ""))
	must(t, err)
	s := &limitStage{T: t, conf: conf}
	// To the agent it is a directory like any; what its manifests name is another matter.
	s.conf.Targets[0].CloudFront = oneCDN.CloudFront
	s.conf.Quota = []config.Quota{{Source: config.SourceCloudWatch, Distribution: "E1", Limit: 50e12, Then: config.ThenStopCDN}}
	s.loop = &loop{Agent: &Agent{Log: slog.New(slog.NewTextHandler(&s.log, nil))}}
	return s
}

func (s *limitStage) keep(now time.Time) error {
	return s.loop.keepLimits(s.Context(), s.conf, demo, now, &progress{})
}

// publish publishes a version.
func (s *limitStage) publish() {
	s.Helper()
	_, err := (&Publication{Config: s.conf, Channel: &s.conf.Channels[0], Log: s.loop.Log}).Run(s.Context())
	must(s.T, err)
}

// uses are those of the distribution in the versions that the head names, and its sequence.
func (s *limitStage) uses() (sequence int64, all []manifest.Use) {
	s.Helper()
	p, err := NewPublisher(s.conf, nil)
	must(s.T, err)
	head, err := standingHead(s.Context(), p, demo)
	must(s.T, err)
	live, err := p.Live(s.Context(), demo)
	must(s.T, err)
	for _, v := range live {
		all = append(all, v.Manifest.Locations[0].Use)
	}
	return head.Sequence, all
}

// TestKeepLimits: the limit is reached, the month ends; what is said is on record before
// it is signed, and what is as it should be is not signed again.
func TestKeepLimits(t *testing.T) {
	s := newLimitStage(t)
	now := time.Now().UTC()
	next := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	outbox := alarm.In(s.conf.State)
	must(t, s.keep(now)) // nothing is published, and there is nothing to say
	s.publish()
	want := func(what string, signed int64, uses ...manifest.Use) {
		t.Helper()
		sequence, got := s.uses()
		if diff := cmp.Diff(uses, got); diff != "" || sequence != signed {
			t.Errorf("%s: sequence %d, want %d; uses (-want +got):\n%s\n%s", what, sequence, signed, diff, s.log.String())
		}
	}
	must(t, s.keep(now))
	want("usual", 1, "")
	record(t, s.conf.State, "E1", now, 51e12, 51e12)
	u, err := usesNow(s.conf, now)
	must(t, err)
	must(t, u.say(outbox, demo)) // and killed before the head was signed
	must(t, s.keep(now))
	want("over", 2, manifest.UseNever)
	record(t, s.conf.State, "E1", now, 1, 51e12)
	must(t, s.keep(now))
	want("corrected", 2, manifest.UseNever)
	s.publish()
	want("another version", 3, manifest.UseNever, manifest.UseNever)
	must(t, s.keep(now))
	want("still", 3, manifest.UseNever, manifest.UseNever)

	must(t, u.say(outbox, demo)) // killed before it was on record that the head is signed
	must(t, s.keep(now))
	want("killed after", 3, manifest.UseNever, manifest.UseNever)
	must(t, s.keep(next))
	want("the month has ended", 4, "", "")
	if found, err := outbox.Mark(saidName(demo), &said{}); found || err != nil {
		t.Errorf("there is a record where all is as usual: %v", err)
	}
	must(t, s.keep(next))
	want("still", 4, "", "")

	// A higher limit, and none at all.
	must(t, s.keep(now))
	want("over", 5, manifest.UseNever, manifest.UseNever)
	s.conf.Quota[0].Limit = 100e12
	must(t, s.keep(now))
	want("a higher limit", 6, "", "")
	s.conf.Quota[0].Limit = 50e12
	must(t, s.keep(now))
	s.conf.Quota = nil
	must(t, s.keep(now))
	want("no quota", 8, "", "")
}

// TestKeepLimitsUnpublished: where nothing is published yet the first version says it,
// and with no limit any more it is taken back.
func TestKeepLimitsUnpublished(t *testing.T) {
	s := newLimitStage(t)
	record(t, s.conf.State, "E1", time.Now(), 51e12, 51e12)
	must(t, s.keep(time.Now()))
	s.publish()
	if _, got := s.uses(); !slices.Equal(got, []manifest.Use{manifest.UseNever}) {
		t.Errorf("the first version says %q", got)
	}
	s.conf.Quota = nil
	must(t, s.keep(time.Now()))
	if _, got := s.uses(); !slices.Equal(got, []manifest.Use{""}) {
		t.Errorf("with no limit any more it says %q", got)
	}
}

// TestKeepLimitsFails: what cannot be signed is tried again, also by another agent.
func TestKeepLimitsFails(t *testing.T) {
	s := newLimitStage(t)
	s.publish()
	record(t, s.conf.State, "E1", time.Now(), 51e12, 51e12)
	out := s.conf.Targets[0].Dir.Path
	heads := filepath.Join(out, demo)
	must(t, os.Rename(heads, heads+".away"))
	must(t, os.WriteFile(heads, nil, 0o600))
	if err := s.keep(time.Now()); err == nil {
		t.Fatal("no error")
	}
	must(t, os.Remove(heads))
	must(t, os.Rename(heads+".away", heads))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.loop.keepLimits(ctx, s.conf, demo, time.Now(), &progress{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	must(t, s.keep(time.Now()))
	if _, got := s.uses(); !slices.Equal(got, []manifest.Use{manifest.UseNever}) {
		t.Errorf("it says %q", got)
	}
}

// TestKeepLimitsUnreadable: a version whose manifest is lost keeps no other one from
// being signed, and is not forgotten.
func TestKeepLimitsUnreadable(t *testing.T) {
	s := newLimitStage(t)
	s.publish()
	p, err := NewPublisher(s.conf, nil)
	must(t, err)
	live, err := p.Live(t.Context(), demo)
	must(t, err)
	lost := filepath.Join(s.conf.Targets[0].Dir.Path, manifest.ManifestKey(live[0].Snapshot.Manifest))
	s.publish()
	must(t, os.Rename(lost, lost+".away"))
	record(t, s.conf.State, "E1", time.Now(), 51e12, 51e12)
	for range 2 {
		if err := s.keep(time.Now()); !errors.Is(err, publish.ErrNotFound) || !strings.Contains(err.Error(), live[0].Snapshot.Version) {
			t.Errorf("error is %v", err)
		}
	}
	must(t, os.Rename(lost+".away", lost))
	if sequence, got := s.uses(); sequence != 3 || !slices.Equal(got, []manifest.Use{manifest.UseNever, ""}) {
		t.Errorf("sequence %d says %q", sequence, got)
	}
	must(t, s.keep(time.Now()))
	if sequence, got := s.uses(); sequence != 4 || !slices.Equal(got, []manifest.Use{manifest.UseNever, manifest.UseNever}) {
		t.Errorf("sequence %d says %q", sequence, got)
	}
}

// TestLimitUnknown: with a record that cannot be read a version says what the one before
// it says.
func TestLimitUnknown(t *testing.T) {
	s := newLimitStage(t)
	s.publish()
	record(t, s.conf.State, "E1", time.Now(), 51e12, 51e12)
	must(t, s.keep(time.Now()))
	file := filepath.Join(s.conf.State, "alarms.db")
	must(t, os.Rename(file, file+".away"))
	must(t, os.WriteFile(file, bytes.Repeat([]byte("rotten\n"), 10_000), 0o600))
	s.publish()
	if _, got := s.uses(); !slices.Equal(got, []manifest.Use{manifest.UseNever, manifest.UseNever}) {
		t.Errorf("it says %q", got)
	}
	if !strings.Contains(s.log.String(), "level=ERROR") || !strings.Contains(s.log.String(), "alarms.db") {
		t.Errorf("the log does not say so:\n%s", s.log.String())
	}
	must(t, os.Rename(file+".away", file))
	s.conf.Quota = nil
	must(t, s.keep(time.Now()))
	if _, got := s.uses(); !slices.Equal(got, []manifest.Use{"", ""}) {
		t.Errorf("with no limit any more it says %q", got)
	}
}

func TestLimitConditions(t *testing.T) {
	month := &quota.Month{Start: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Bytes: 49e12, Most: 51e12}
	got := kinds(limitConditions([]Quota{
		{Name: "E1", Month: month, Limit: 50e12, Then: config.ThenStopCDN, Over: true},
		{Name: "E2", Month: month},
	}))
	want := "limit E1: it has delivered 51 TB in November 2026, and its limit is 50 TB: until the month ends those who fetch are asked to take the data from elsewhere\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
