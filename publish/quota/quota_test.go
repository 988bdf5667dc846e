package quota

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/quota/cloudwatchtest"
)

const (
	distribution = "E2QWRUHEXAMPLE"
	tb           = 1_000_000_000_000
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// watched is a meter on a double of CloudWatch.
type watched struct {
	*testing.T
	api    *cloudwatchtest.API
	meter  *Meter
	outbox *alarm.Outbox
}

func watch(t *testing.T, rules Rules) *watched {
	api := &cloudwatchtest.API{}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	environment(t.Setenv, server.URL, t.TempDir())
	source, err := NewCloudWatch(distribution)
	must(t, err)
	return &watched{t, api, &Meter{
		Name: distribution, Publisher: "snapshots.example.org", Source: source, Rules: rules,
		Cost: func(bytes int64) float64 { return float64(bytes) / tb * 80 },
	}, alarm.In(t.TempDir())}
}

func environment(set func(name, value string), url, dir string) {
	nowhere := filepath.Join(dir, "nothing")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_CA_BUNDLE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": url,
	} {
		set(name, value)
	}
}

// keep is a mail system that has all that it was sent.
type keep struct{ mails []*alarm.Mail }

func (k *keep) Send(_ context.Context, m *alarm.Mail, _ string) error {
	k.mails = append(k.mails, m)
	return nil
}

func (k *keep) String() string { return "memory" }

// look looks at a time, and wants mails with these ends of their subjects.
func (w *watched) look(at string, want ...string) []*alarm.Mail {
	w.Helper()
	now := when(w.T, at)
	if _, err := w.meter.Look(w.Context(), w.outbox, now); err != nil {
		w.Fatal(err)
	}
	k := &keep{}
	if _, err := w.outbox.Deliver(w.Context(), k, []string{"ops@example.org"}); err != nil {
		w.Fatal(err)
	}
	var got []string
	for _, m := range k.mails {
		got = append(got, strings.TrimPrefix(m.Subject, "[qsync] "+distribution+": "))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("at %s mailed %q, want %q", at, got, want)
	}
	return k.mails
}

func when(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04", text)
	must(t, err)
	return at
}

func (w *watched) set(at string, bytes int64) { w.api.Set(distribution, when(w.T, at), bytes) }

// TestSteps crosses steps early and late, over the end of a month, with a sum that
// shrinks.
func TestSteps(t *testing.T) {
	w := watch(t, Rules{Step: tb})
	w.look("2026-11-29 10:00")
	w.set("2026-11-29 09:00", tb-1)
	w.look("2026-11-29 10:05")
	w.set("2026-11-29 09:00", tb)
	w.look("2026-11-29 10:10", "1 TB in November 2026")
	w.look("2026-11-29 10:15")
	w.set("2026-11-29 10:00", 2*tb+tb/2)
	w.look("2026-11-29 10:20", "2 TB in November 2026", "3 TB in November 2026")
	// Corrected to less, and then to more again.
	w.set("2026-11-29 10:00", tb/2)
	w.look("2026-11-29 10:25")
	w.set("2026-11-29 10:00", 2*tb+tb/2)
	w.look("2026-11-29 10:30")
	// Another step: what lies below what was said is not said.
	w.meter.Rules.Step = tb / 2
	w.look("2026-11-29 10:35", "3.5 TB in November 2026")
	w.meter.Rules.Step = 2 * tb
	w.look("2026-11-29 10:40")
	w.meter.Rules.Step = tb
	// A day late, when it is December already.
	w.look("2026-12-01 00:01")
	w.set("2026-11-30 23:59", tb/2)
	w.set("2026-12-01 00:00", tb)
	w.look("2026-12-01 20:00", "4 TB in November 2026", "1 TB in December 2026")
	// Later than anybody waits for.
	w.set("2026-11-30 23:58", tb)
	w.look("2026-12-03 00:01")
	// The year ends.
	w.set("2026-12-31 23:59", tb)
	w.set("2027-01-01 00:00", tb)
	w.look("2027-01-01 01:00", "2 TB in December 2026", "1 TB in January 2027")
}

// TestFirstLook says nothing of the month before, which nobody has watched.
func TestFirstLook(t *testing.T) {
	w := watch(t, Rules{Step: tb})
	w.set("2026-11-30 23:00", 5*tb)
	w.set("2026-12-01 00:00", 2*tb)
	w.look("2026-12-01 00:30", "1 TB in December 2026", "2 TB in December 2026")
	w.set("2026-11-30 23:00", 6*tb)
	w.look("2026-12-01 00:40")
}

// TestMoney crosses shares of a budget, and days that are too dear.
func TestMoney(t *testing.T) {
	w := watch(t, Rules{Budget: 360, Percents: []int{100, 50}, Rate: 100})
	w.set("2026-11-10 12:00", tb)
	w.look("2026-11-10 13:00")
	w.set("2026-11-10 13:00", tb/2)
	w.look("2026-11-10 14:00", "2026-11-10 cost about $120")
	w.set("2026-11-11 12:00", tb)
	w.look("2026-11-11 13:00", "50 % of the budget of November 2026")
	w.set("2026-11-10 14:00", tb) // the day before, late
	w.look("2026-11-11 14:00")
	w.set("2026-11-12 01:00", tb)
	w.look("2026-11-12 14:00", "100 % of the budget of November 2026")
	w.set("2026-11-12 02:00", tb)
	w.look("2026-11-12 14:05", "2026-11-12 cost about $160")
	w.set("2026-11-12 02:00", 0)
	w.look("2026-11-12 14:10")
	w.set("2026-11-12 02:00", tb)
	w.look("2026-11-12 14:15")
}

// TestLetter reads what a mail says.
func TestLetter(t *testing.T) {
	w := watch(t, Rules{Step: tb})
	for day := 1; day <= 10; day++ {
		w.set(fmt.Sprintf("2026-11-%02d 23:00", day), tb/10)
	}
	m := w.look("2026-11-11 00:00", "1 TB in November 2026")[0]
	for _, want := range []string{
		"E2QWRUHEXAMPLE has delivered more than 1 TB in November 2026.",
		"delivered so far         1 TB\n", "known up to              2026-11-11 00:00 UTC\n",
		"at the end of the month  about 3 TB,", "cost so far              about $80\n", "cost of the month        about $240,",
		"What to do\n- ", "qsyncd of snapshots.example.org",
	} {
		if !strings.Contains(m.Text, want) {
			t.Errorf("no %q in %s", want, m.Text)
		}
	}
	if !strings.Contains(m.HTML, "<td>about 3 TB,") {
		t.Errorf("%s", m.HTML)
	}
	month, err := w.meter.On(w.outbox, when(t, "2026-11-20 00:00"))
	if err != nil || month == nil || month.Bytes != tb || month.Project != 3*tb {
		t.Errorf("on record: %+v, %v", month, err)
	}
}

// TestRequests reads a month of data of every five minutes.
func TestRequests(t *testing.T) {
	w := watch(t, Rules{})
	for at := when(t, "2026-10-01 00:00"); at.Before(when(t, "2026-11-01 00:00")); at = at.Add(5 * time.Minute) {
		w.api.Set(distribution, at, 1000)
	}
	month, err := w.meter.Look(t.Context(), w.outbox, when(t, "2026-10-31 23:59"))
	if err != nil || month.Bytes != 31*24*12*1000 {
		t.Fatalf("%+v, %v", month, err)
	}
	if got := w.api.Requests(); len(got) != 1 {
		t.Errorf("%d requests: %+v", len(got), got)
	}
	// Pages are read to their end.
	w.api.PageSize = 100
	if month, err = w.meter.Look(t.Context(), w.outbox, when(t, "2026-10-31 23:59")); err != nil || month.Bytes != 31*24*12*1000 {
		t.Errorf("%+v, %v", month, err)
	}
	if got := w.api.Requests(); len(got) != 1+8 {
		t.Errorf("%d requests", len(got)-1)
	}
	w.api.PageSize = 1 // and no further than that
	if _, err := w.meter.Look(t.Context(), w.outbox, when(t, "2026-10-31 23:59")); err == nil || !strings.Contains(err.Error(), "not come to an end") {
		t.Errorf("%v", err)
	}
	w.api.Refuse("AccessDenied")
	_, err = w.meter.Look(t.Context(), w.outbox, when(t, "2026-10-31 23:59"))
	if h, ok := err.(interface{ Hint() string }); ok {
		t.Errorf("wrapped: %s", h.Hint())
	}
	if err == nil || !strings.Contains(err.Error(), "CloudWatch answers AccessDenied") {
		t.Errorf("%v", err)
	}
}
