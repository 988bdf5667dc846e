package quota

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/alarm/mailtest"
	"github.com/qsync/qsync/publish/quota/cloudwatchtest"
)

var kills = flag.Int("kills", 6, "how often TestKilled kills the process that watches")

// watcherVariable says that this process is one that TestKilled kills: the state
// directory.
const watcherVariable = "QSYNC_TEST_WATCHER"

func TestMain(m *testing.M) {
	if state := os.Getenv(watcherVariable); state != "" {
		fmt.Fprintln(os.Stderr, watchForever(state))
		return
	}
	m.Run()
}

// watchForever looks and delivers until it is killed.
func watchForever(state string) error {
	source, err := NewCloudWatch(distribution)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(os.Getenv("MAIL_PORT"))
	if err != nil {
		return err
	}
	meter := &Meter{Name: distribution, Publisher: "snapshots.example.org", Source: source, Rules: Rules{Step: tb}}
	outbox := alarm.In(state)
	// The certificate is known by SSL_CERT_FILE.
	server := &alarm.SMTP{
		Host: "127.0.0.1", Port: port, TLS: alarm.StartTLS, User: mailtest.User, From: "qsync@example.org",
		Password: func() (string, error) { return mailtest.Password, nil },
	}
	for ctx := context.Background(); ; {
		if _, err := meter.Look(ctx, outbox, time.Now()); err != nil {
			return err
		}
		_, _ = outbox.Deliver(ctx, server, recipients) // what fails is tried again
		time.Sleep(time.Millisecond)
	}
}

var recipients = []string{"ops@example.org", "chief@example.org"}

// TestKilled delivers ten TB in random steps to a process that is killed at random
// moments, while the mail server is down for a third of the time: each TB is mailed to
// each recipient, in order, and what comes twice is the same mail.
func TestKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	api := &cloudwatchtest.API{}
	cloud := httptest.NewServer(api)
	t.Cleanup(cloud.Close)
	mails, err := mailtest.Start(t.TempDir(), mailtest.Options{})
	must(t, err)
	t.Cleanup(mails.Close)
	environment(t.Setenv, cloud.URL, t.TempDir())
	t.Setenv("SSL_CERT_FILE", mails.CAFile)
	t.Setenv("MAIL_PORT", fmt.Sprint(mails.Port))
	state := t.TempDir()
	t.Setenv(watcherVariable, state)

	// All within one month, whenever that is.
	at := monthOf(time.Now())
	delivered := int64(0)
	grow := func(bytes int64) {
		delivered += bytes
		api.Add(distribution, at, bytes)
	}
	for kill := range *kills {
		watcher := start(t)
		for end := time.Now().Add(time.Duration(50+random.IntN(250)) * time.Millisecond); time.Now().Before(end); {
			// A server that is slow to say so lets kills fall between acceptance and mark.
			states := []mailtest.Fault{mailtest.Well, mailtest.Slow, mailtest.Slow, mailtest.Slow, mailtest.Down, mailtest.Busy}
			mails.Break(states[random.IntN(len(states))])
			if left := 10*tb*int64(kill+1)/int64(*kills) - delivered; left > 0 {
				grow(random.Int64N(left) + 1)
			}
			time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
		}
		must(t, watcher.Process.Kill())
		_ = watcher.Wait()
	}
	// The last one is left alone.
	grow(10*tb - delivered)
	mails.Break(mailtest.Well)
	watcher := start(t)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s, err := alarm.In(state).Status(); err == nil && s.Waiting == 0 && len(firsts(mails.Mails(), recipients[1])) == 10 {
			break
		}
	}
	must(t, watcher.Process.Kill())
	_ = watcher.Wait()

	for _, to := range recipients {
		got := firsts(mails.Mails(), to)
		if len(got) != 10 {
			t.Errorf("%s has %d different mails", to, len(got))
		}
		for i, m := range got {
			if want := fmt.Sprintf("[qsync] %s: %d TB in", distribution, i+1); !strings.HasPrefix(m.Subject, want) {
				t.Errorf("%s: mail %d is not about that TB: %s", to, i+1, m.Subject)
			}
		}
	}
	twice, raw := 0, map[string]string{}
	for _, m := range mails.Mails() {
		if was, again := raw[m.To+m.ID]; again {
			if twice++; was != m.Raw {
				t.Errorf("a second copy differs: %s\n%s", was, m.Raw)
			}
		}
		raw[m.To+m.ID] = m.Raw
	}
	if twice > *kills { // one mail is under way at a time
		t.Errorf("%d second copies after %d kills", twice, *kills)
	}
	t.Logf("killed %d times, %d second copies", *kills, twice)
}

// firsts are the mails to a recipient, without second copies.
func firsts(all []mailtest.Mail, to string) (got []mailtest.Mail) {
	seen := map[string]bool{}
	for _, m := range all {
		if m.To == to && !seen[m.ID] {
			seen[m.ID] = true
			got = append(got, m)
		}
	}
	return got
}

func start(t *testing.T) *exec.Cmd {
	t.Helper()
	watcher := exec.Command(os.Args[0])
	watcher.Stderr = os.Stderr
	must(t, watcher.Start())
	return watcher
}
