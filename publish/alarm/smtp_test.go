package alarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/publish/alarm/mailtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func startMail(t *testing.T, o mailtest.Options) *mailtest.Server {
	t.Helper()
	s, err := mailtest.Start(t.TempDir(), o)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

func sender(s *mailtest.Server, how TLS) *SMTP {
	return &SMTP{
		Host: s.Host, Port: s.Port, TLS: how, User: mailtest.User, From: "qsync@example.org", RootCAs: s.Pool,
		Password: func() (string, error) { return mailtest.Password, nil },
	}
}

func letter(subject string) *Mail {
	l := &Letter{
		Subject: subject, Lead: []string{"It is <so>."}, Facts: []Fact{{"größe", "7 TB"}}, Advice: []string{"Nothing."},
		Tables: []Table{{"Top channels", []Fact{{"demo-files", "6 TB"}}}}, Sender: "snapshots.example.org",
	}
	return l.Mail(MessageID("snapshots.example.org", "test", subject), time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC))
}

func TestSMTP(t *testing.T) {
	for _, c := range []struct {
		name   string
		server mailtest.Options
		tls    TLS
		change func(*SMTP)
		want   string // of the error; empty is none
		hint   string
	}{
		{name: "starttls", tls: StartTLS},
		{name: "implicit", server: mailtest.Options{Implicit: true}, tls: Implicit},
		{name: "no starttls", server: mailtest.Options{NoTLS: true}, tls: StartTLS, want: "does not support STARTTLS"},
		{name: "no password in clear text", server: mailtest.Options{NoTLS: true}, tls: NoTLS, want: "does not support SMTP AUTH"},
		{name: "a stranger's certificate", tls: StartTLS, change: func(s *SMTP) { s.RootCAs = nil }, want: "certificate", hint: "the server's certificate"},
		{name: "wrong password", tls: StartTLS, change: func(s *SMTP) { s.Password = func() (string, error) { return "hunter2", nil } }, want: "535", hint: "password_file"},
		{name: "no login", tls: StartTLS, change: func(s *SMTP) { s.User = "" }, want: "530", hint: "password_file"},
		{name: "no password", tls: StartTLS, change: func(s *SMTP) { s.Password = func() (string, error) { return "", errors.New("it is gone") } }, want: "it is gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := startMail(t, c.server)
			s := sender(server, c.tls)
			if c.change != nil {
				c.change(s)
			}
			err := s.Send(t.Context(), letter("one"), "ops@example.org")
			if c.want == "" {
				must(t, err)
				must(t, s.Check(t.Context()))
				if got := server.Mails(); len(got) != 1 || got[0].From != "qsync@example.org" || got[0].To != "ops@example.org" || server.Logins() != 2 {
					t.Errorf("accepted: %+v", got)
				}
				return
			}
			hinted := (interface{ Hint() string })(nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || c.hint != "" && (!errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), c.hint)) {
				t.Errorf("error %v, want %q with hint %q", err, c.want, c.hint)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in %q", err)
			}
			if len(server.Mails()) > 0 {
				t.Errorf("accepted: %+v", server.Mails())
			}
		})
	}
}

// TestMail looks at a mail as its reader gets it.
func TestMail(t *testing.T) {
	server := startMail(t, mailtest.Options{})
	s := sender(server, StartTLS)
	m := letter("größer\nBcc: all@example.org")
	must(t, s.Send(t.Context(), m, "ops@example.org"))
	must(t, s.Send(t.Context(), m, "ops@example.org"))
	mails := server.Mails()
	if mails[0].Raw != mails[1].Raw {
		t.Errorf("a second copy differs:\n%s\n%s", mails[0].Raw, mails[1].Raw)
	}
	got, err := mail.ReadMessage(strings.NewReader(mails[0].Raw))
	must(t, err)
	body, err := io.ReadAll(got.Body)
	must(t, err)
	for name, want := range map[string]string{
		"Message-ID": "<" + m.ID + ">", "To": "<ops@example.org>", "Bcc": "", "Auto-Submitted": "auto-generated",
		"Date": "Wed, 25 Nov 2026 12:00:00 +0000",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Header.Get(name), want)
		}
	}
	for _, want := range []string{"text/plain", "text/html", "It is <so>.", "It is &lt;so&gt;.", "gr=C3=B6=C3=9Fe", "demo-files", "Nothing."} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
}

func TestMessageID(t *testing.T) {
	seen := map[string]bool{}
	for _, about := range [][]string{{"quota", "a b", "c"}, {"quota", "a", "b c"}, {"quota", "a-b", "c"}, {"quota", "a/b", "c"}} {
		id := MessageID("snapshots.example.org", about...)
		if id != MessageID("snapshots.example.org", about...) || seen[id] {
			t.Errorf("%q is not the name of %q alone", id, about)
		}
		if _, err := mail.ParseAddress(id); err != nil {
			t.Errorf("%q: %s", id, err)
		}
		seen[id] = true
	}
}

// TestHanging ends while a server says nothing more.
func TestHanging(t *testing.T) {
	server := startMail(t, mailtest.Options{})
	server.Break(mailtest.Hanging)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := sender(server, StartTLS).Send(ctx, letter("one"), "ops@example.org"); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
}

func TestDeliver(t *testing.T) {
	server := startMail(t, mailtest.Options{})
	s, o := sender(server, StartTLS), In(t.TempDir())
	both := []string{"a@example.org", "b@example.org"}
	deliver := func(want int, wantErr bool) {
		t.Helper()
		n, err := o.Deliver(t.Context(), s, both)
		if n != want || (err != nil) != wantErr {
			t.Errorf("accepted %d: %v, want %d", n, err, want)
		}
	}
	state := func(waiting, failures int) {
		t.Helper()
		got, err := o.Status()
		must(t, err)
		if got.Waiting != waiting || got.Failures != failures || (got.Error != "") != (failures > 0) {
			t.Errorf("status %+v, want %d waiting after %d failures", got, waiting, failures)
		}
	}
	state(0, 0)
	deliver(0, false)
	post := func(subjects ...string) {
		must(t, o.Update(func(tx *Tx) error {
			for _, s := range subjects {
				must(t, tx.Post(letter(s)))
			}
			return nil
		}))
	}
	post("1", "2")
	server.Break(mailtest.Down)
	deliver(0, true)
	server.Break(mailtest.Busy)
	deliver(0, true)
	state(2, 2)
	// The one whom the server does not know holds up nobody else, and misses nothing.
	server.Break(mailtest.Well)
	server.Refuse("a@example.org", true)
	deliver(2, true)
	state(2, 3)
	server.Refuse("a@example.org", false)
	post("3")
	deliver(4, false)
	state(0, 0)
	// An answer that is lost makes a second copy.
	server.Break(mailtest.Lost)
	post("4")
	deliver(0, true)
	server.Break(mailtest.Well)
	deliver(2, false)
	got := map[string]string{}
	for _, m := range server.Mails() {
		for _, n := range []string{"1", "2", "3", "4"} {
			if m.ID == MessageID("snapshots.example.org", "test", n) {
				got[m.To] += n
			}
		}
	}
	for _, to := range both {
		if got[to] != "12344" {
			t.Errorf("%s has got %q", to, got[to])
		}
	}
	// Who is a recipient no more is not waited for.
	post("5")
	server.Refuse("a@example.org", true)
	deliver(1, true)
	must(t, o.Forget(both[1:]))
	if got, err := o.Status(); err != nil || got.Waiting != 0 || got.Error != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestRollback notes nothing of a transaction that has failed.
func TestRollback(t *testing.T) {
	o := In(t.TempDir())
	broken := errors.New("broken")
	if err := o.Update(func(tx *Tx) error {
		must(t, tx.SetMark("a", 1))
		must(t, tx.Post(letter("1")))
		return broken
	}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	n := 0
	found, err := o.Mark("a", &n)
	state, statusErr := o.Status()
	if found || err != nil || statusErr != nil || state.Waiting != 0 {
		t.Errorf("%v %v %v %+v", found, err, statusErr, state)
	}
}

func TestWatch(t *testing.T) {
	o := In(t.TempDir())
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	quiet := false
	w := &Watch{Publisher: "snapshots.example.org", Repeat: time.Hour, Quiet: func(time.Time) bool { return quiet }}
	told := 0
	look := func(after time.Duration, want []string, wrong ...Condition) {
		t.Helper()
		now = now.Add(after)
		must(t, w.Look(o, now, []string{"run", "node"}, wrong))
		var subjects []string
		must(t, o.view(func(tx *Tx) error {
			return tx.eachMail(func(_ []byte, m *Mail) error {
				subjects = append(subjects, m.Subject)
				return nil
			})
		}))
		if got := subjects[told:]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("posted %q, want %q", got, want)
		}
		told = len(subjects)
	}
	run := Condition{Kind: "run", Subject: "demo-files", Text: "the run has failed", Advice: []string{"Look."}}
	node := Condition{Kind: "node", Subject: "demo-files", Text: "the node has no peers", After: time.Minute}
	const failed, ill = "[qsync] demo-files: the run has failed", "[qsync] demo-files: the node has no peers"

	look(0, []string{failed}, run)
	look(time.Minute, nil, run)
	look(time.Minute, nil, run, node) // not for long enough
	look(time.Minute, []string{ill}, run, node)
	look(time.Hour, []string{"[qsync] still: demo-files: the run has failed", "[qsync] still: demo-files: the node has no peers"}, run, node)
	look(time.Minute, []string{"[qsync] recovered: demo-files: the run has failed"}, node)
	quiet = true
	look(time.Minute, nil)      // over, and nobody is told yet
	look(time.Minute, nil, run) // nor that it is back
	look(time.Minute, nil)      // what was never told is never over
	quiet = false
	look(time.Minute, []string{"[qsync] recovered: demo-files: the node has no peers"})
	look(time.Minute, nil)
	// Within the quiet hours begun, and told when they are over.
	quiet = true
	look(time.Minute, nil, run)
	quiet = false
	look(time.Minute, []string{failed}, run)
	// What is not looked at is not over.
	must(t, w.Look(o, now, nil, nil))
	if s, err := o.Status(); err != nil || len(s.Active) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}
