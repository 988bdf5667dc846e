package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/alarm/mailtest"
	"github.com/qsync/qsync/publish/quota"
	"github.com/qsync/qsync/publish/quota/cloudwatchtest"
	"github.com/qsync/qsync/publish/status"
)

// TestAlarms runs an agent with a mail server and a double of CloudWatch. While the
// server hangs channels are published, and what is said then waits; a run that fails
// is told, and that it is over.
func TestAlarms(t *testing.T) {
	d := newDaemon(t)
	mails, err := mailtest.Start(d.dir, mailtest.Options{})
	must(t, err)
	t.Cleanup(mails.Close)
	api := &cloudwatchtest.API{}
	cloud := httptest.NewServer(api)
	t.Cleanup(cloud.Close)
	var pings atomic.Int64
	dead := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { pings.Add(1) }))
	t.Cleanup(dead.Close)
	for name, value := range map[string]string{
		"SSL_CERT_FILE": mails.CAFile, "AWS_ENDPOINT_URL_CLOUDWATCH": cloud.URL, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
		"AWS_SECRET_ACCESS_KEY": "hunter2hunter2", "AWS_CA_BUNDLE": "", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	must(t, os.Mkdir(filepath.Join(d.dir, "db"), 0o755))
	must(t, os.WriteFile(filepath.Join(d.dir, "db", "one"), []byte("one\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(d.dir, "smtp"), []byte(mailtest.Password+"\n"), 0o600))
	d.configure("demo-files", fmt.Sprintf(`database: {kind: files, path: db}, node: {none: {}}, schedule: "@every 1s",
  boot_check: [test, -e, %s]}]
alarms:
  mail: { smtp: { host: 127.0.0.1, port: %d, user: %s, password_file: smtp }, from: qsync@example.org, to: [ops@example.org, chief@example.org] }
  ping: "%s/secret"
quota: [{ source: cloudwatch, distribution: E2QWRUHEXAMPLE`, filepath.Join(d.dir, "ok"), mails.Port, mailtest.User, dead.URL))

	said := d.command("alarm", "test")
	if want := fmt.Sprintf("accepted for ops@example.org by 127.0.0.1:%d\naccepted for chief@example.org by 127.0.0.1:%[1]d\n", mails.Port); said != want {
		t.Errorf("alarm test says %q", said)
	}
	if said = d.command("doctor"); !strings.Contains(said, "it lets the agent in") || !strings.Contains(said, "warn  quota E2QWRUHEXAMPLE") {
		t.Errorf("doctor says %s", said)
	}
	overview := func() (o agent.Overview) {
		must(t, json.Unmarshal([]byte(d.command("status", "--json")), &o))
		return o
	}
	api.Add("E2QWRUHEXAMPLE", time.Now(), 2_500_000_000_000)
	mails.Break(mailtest.Busy)
	d.start()
	eventually(t, patience, "mails wait", func() bool {
		s := overview().Alarms
		return s.Waiting >= 3 && s.Failures > 0 && strings.Contains(s.Error, "451")
	})
	must(t, os.WriteFile(filepath.Join(d.dir, "ok"), nil, 0o600))
	mails.Break(mailtest.Hanging)
	eventually(t, patience, "a version", func() bool { return d.last("demo-files").Outcome == status.Published })
	mails.Break(mailtest.Well)
	d.stop() // it must not wait for the server
	d.start()
	has := func(text string) func() bool {
		return func() bool {
			for _, to := range []string{"ops@example.org", "chief@example.org"} {
				found := false
				for _, m := range mails.Mails() {
					found = found || m.To == to && strings.Contains(m.Subject, text)
				}
				if !found {
					return false
				}
			}
			return true
		}
	}
	for _, want := range []string{"E2QWRUHEXAMPLE: 1 TB in", "E2QWRUHEXAMPLE: 2 TB in", "[qsync] demo-files: run ", "[qsync] recovered: demo-files"} {
		eventually(t, patience, want, has(want))
	}
	o := overview()
	if len(o.Quota) != 1 || o.Quota[0].Month == nil || o.Quota[0].Month.Bytes != 2_500_000_000_000 || o.Alarms.Failures != 0 || len(o.Alarms.Active) != 0 {
		t.Errorf("status: %+v, %+v", o.Alarms, o.Quota)
	}
	if pings.Load() == 0 {
		t.Error("nobody has heard that the agent lives")
	}
	// Another configuration holds at once. What cannot be asked for is a problem.
	api.Refuse("AccessDenied")
	file := filepath.Join(d.dir, "qsyncd.yaml")
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(strings.Replace(string(text), "chief@", "boss@", 1)), 0o600))
	must(t, d.cmd.Process.Signal(syscall.SIGHUP))
	eventually(t, patience, "a problem", func() bool {
		return strings.Contains(strings.Join(overview().Problems, "\n"), "CloudWatch answers AccessDenied")
	})
	d.stop()
	for _, secret := range []string{mailtest.Password, "/secret", "hunter2hunter2"} {
		if strings.Contains(d.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// command runs a command that succeeds, and returns what it says.
func (d *daemon) command(args ...string) string {
	d.Helper()
	cmd := exec.Command(d.program, append(args, "-c", filepath.Join(d.dir, "qsyncd.yaml"))...)
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			stderr = string(e.Stderr)
		}
		d.Fatalf("%s: %v\n%s\n%s", args, err, out, stderr)
	}
	return string(out)
}

// TestServedQuota counts what qsyncd serve has sent, up to its end: a download goes on after
// it was told to end.
func TestServedQuota(t *testing.T) {
	d := newDaemon(t)
	const size = 32 << 20 // more than the kernel takes for somebody who does not read
	key := manifest.SegmentKey(manifest.Digest{})
	file := filepath.Join(d.dir, "out", key)
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, make([]byte, size), 0o644))
	d.configure("demo-files", `database: {kind: files, path: db}, node: {none: {}}}]
alarms: { mail: { smtp: { host: localhost, tls: none }, from: qsync@example.org, to: [ops@example.org] } }
quota: [{ source: serve`)
	cmd := exec.Command(d.program, "serve", "-c", filepath.Join(d.dir, "qsyncd.yaml"), "--listen", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	url, err := bufio.NewReader(stdout).ReadString('\n')
	must(t, err)
	url = strings.TrimSpace(url)
	answer, err := http.Get(url + "/" + key)
	must(t, err)
	defer answer.Body.Close()
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	eventually(t, patience, "nobody else is let in", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	n, err := io.Copy(io.Discard, answer.Body)
	if err != nil || n != size {
		t.Errorf("%d bytes were read, %v", n, err)
	}
	must(t, cmd.Wait())
	now := time.Now().UTC().Truncate(time.Hour)
	hours, err := (&quota.Served{Outbox: alarm.In(filepath.Join(d.dir, "state"))}).Delivered(t.Context(), now.Add(-time.Hour), now.Add(time.Hour))
	sum := int64(0) // the hour may have ended on the way
	for _, h := range hours {
		sum += h.Bytes
	}
	if err != nil || sum != size {
		t.Errorf("%+v, %v", hours, err)
	}
}

// TestDamageMail has something vanish from a target: it is mailed, and when the next run
// has stored it anew, that it is over.
func TestDamageMail(t *testing.T) {
	d := newDaemon(t)
	mails, err := mailtest.Start(d.dir, mailtest.Options{})
	must(t, err)
	t.Cleanup(mails.Close)
	t.Setenv("SSL_CERT_FILE", mails.CAFile)
	must(t, os.Mkdir(filepath.Join(d.dir, "db"), 0o755))
	must(t, os.WriteFile(filepath.Join(d.dir, "db", "one"), []byte("one\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(d.dir, "smtp"), []byte(mailtest.Password+"\n"), 0o600))
	d.configure("demo-files", fmt.Sprintf(`database: {kind: files, path: db}, node: {none: {}}}]
alarms: { mail: { smtp: { host: 127.0.0.1, port: %d, user: %s, password_file: smtp }, from: qsync@example.org, to: [ops@example.org] } }
scrub: { every: 30d, rate: 20MB`, mails.Port, mailtest.User))
	file := filepath.Join(d.dir, "qsyncd.yaml")
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(strings.TrimSuffix(strings.TrimSpace(string(text)), "]")+"\n"), 0o644))
	d.command("publish", "demo-files")
	must(t, os.RemoveAll(filepath.Join(d.dir, "out", "segments")))
	mailed := func(start string) func() bool {
		return func() bool {
			for _, m := range mails.Mails() {
				if strings.HasPrefix(m.Subject, start) && strings.Contains(m.Subject, "1 published object is broken") {
					return true
				}
			}
			return false
		}
	}
	d.start()
	eventually(t, patience, "a mail about the damage", mailed("[qsync] "+filepath.Join(d.dir, "out")))
	d.stop()
	time.Sleep(time.Second) // a version is named after its second
	d.command("publish", "demo-files")
	d.start()
	eventually(t, patience, "a mail that it is over", mailed("[qsync] recovered: "))
	d.stop()
}
