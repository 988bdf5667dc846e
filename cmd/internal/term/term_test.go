package term

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/chain"
)

func TestExitCode(t *testing.T) {
	untrusted := &trust.Error{What: "head a", Class: trust.Expired, Err: errors.New("expired")}
	for _, c := range []struct {
		err  error
		code int
		hint string
	}{
		{nil, 0, ""},
		{errors.New("other"), 1, ""},
		{Usagef("flag"), 2, "--help"},
		{fmt.Errorf("a: %w", fetcher.ErrNotFound), 10, "qsync list"},
		{publish.ErrInUse, 11, "wait"},
		{publish.ErrConflict, 1, "run it again"},
		{&snapshot.RefusedError{Path: "/x", Why: "y", Hint: "move it away"}, 1, "move it away"},
		{fetcher.ErrInUse, 11, "stop the node"},
		{fmt.Errorf("b: %w", untrusted), 12, "clock"},
		{errors.Join(fetcher.ErrNoSource, untrusted), 12, "clock"},
		{&fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, 13, "make room"},
		{fetcher.ErrNoSpace, 13, "make room"},
		{fetcher.ErrNoSource, 14, "same command"},
		{fmt.Errorf("block 7: %w", chain.ErrUnconfirmed), 14, "same command"},
		{fetcher.ErrConsent, 15, "--yes"},
		{fmt.Errorf("%w: %w", errInterrupted, fetcher.ErrNoSource), 130, "same command"},
		{errors.Join(fetcher.ErrNoSource, context.Canceled), 14, "same command"},
		{WithHint(errors.New("c"), "do %s", "this"), 1, "do this"},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, 1, "owns"},
	} {
		if code := ExitCode(c.err); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, code, c.code)
		}
		if c.err == nil {
			continue
		}
		if hint := Hint(c.err); !strings.Contains(hint, c.hint) || (c.hint == "") != (hint == "") {
			t.Errorf("%v: hint %q, want %q", c.err, hint, c.hint)
		}
	}
}

func TestEveryClassOfDistrustHasAHint(t *testing.T) {
	for _, class := range []trust.Class{
		trust.Signature, trust.Threshold, trust.Malformed, trust.WrongSubject,
		trust.Expired, trust.Rollback, trust.Equivocation, trust.State,
	} {
		if Hint(&trust.Error{Class: class, Err: errors.New("x")}) == "" {
			t.Errorf("class %s has none", class)
		}
	}
}

func TestFail(t *testing.T) {
	var stdout, stderr bytes.Buffer
	o := &Output{program: "qsync", stdout: &stdout, stderr: &stderr}
	err := WithHint(errors.Join(errors.New("one"), errors.New("two")), "do this")
	o.fail(err)
	if want := "qsync: error: one; two\nqsync: hint: do this\n"; stderr.String() != want || stdout.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
	stderr.Reset()
	o.JSON = true
	o.fail(err)
	if want := `{"event":"error","code":1,"error":"one; two","hint":"do this"}` + "\n"; stdout.String() != want || stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

func TestMeter(t *testing.T) {
	start := time.Unix(1000, 0)
	var m meter
	if _, ok := m.eta(100); ok || m.rate() != 0 {
		t.Error("knows a rate from nothing")
	}
	for s := range 41 { // ten bytes a second for 20 s, then twenty
		done := int64(10 * s)
		if s > 20 {
			done = int64(200 + 20*(s-20))
		}
		m.add(start.Add(time.Duration(s)*time.Second), done)
	}
	if r := m.rate(); r != 20 {
		t.Errorf("rate %v, want that of the last seconds", r)
	}
	if eta, ok := m.eta(1000); !ok || eta != 20*time.Second {
		t.Errorf("400 bytes are left at 20 a second: %s, %t", eta, ok)
	}
	for i := range 10000 {
		m.add(start.Add(time.Minute+time.Duration(i)*time.Millisecond), 700)
	}
	if n := len(m.samples); n > 64 {
		t.Errorf("keeps %d samples", n)
	}
}

func TestDisplayWithoutATerminal(t *testing.T) {
	var stdout, stderr bytes.Buffer
	o := &Output{program: "qsync", stdout: &stdout, stderr: &stderr}
	d := o.NewDisplay()
	for i := range int64(1000) {
		d.Show(Progress{Phase: "fetching", Done: i << 20, Total: 1000 << 20, Sources: []string{"a", "b"}})
	}
	d.Show(Progress{Phase: "finishing"})
	d.Close()
	d.Show(Progress{Phase: "late"})
	if want := "qsync: fetching · 0 B of 1000 MiB · from a, b\nqsync: finishing\n"; stderr.String() != want {
		t.Errorf("said %q\nwant %q", stderr.String(), want)
	}
	stderr.Reset()
	d = o.NewDisplay()
	failed := errors.New("no")
	if err := d.Without(func() error { d.Show(Progress{Phase: "asking"}); return failed }); !errors.Is(err, failed) || stderr.Len() > 0 {
		t.Errorf("while it was off it said %q, %v", stderr.String(), err)
	}
	d.Show(Progress{Phase: "fetching"})
	if want := "qsync: fetching\n"; stderr.String() != want {
		t.Errorf("said %q\nwant %q", stderr.String(), want)
	}
	o.JSON = true
	d = o.NewDisplay()
	d.Show(Progress{Phase: "fetching", Done: 1, Total: 2, Sources: []string{"a"}})
	if want := `{"event":"progress","phase":"fetching","done_bytes":1,"total_bytes":2,"bytes_per_second":0,"sources":["a"]}` + "\n"; stdout.String() != want {
		t.Errorf("event %s", stdout.String())
	}
}

func TestBytes(t *testing.T) {
	for s, want := range map[string]Bytes{"50MiB": 50 << 20, "1GB": 1e9, "7": 7} {
		var b Bytes
		if err := b.Set(s); err != nil || b != want {
			t.Errorf("%s: %d, %v", s, b, err)
		}
	}
	for _, s := range []string{"", "fast", "0", "-1", "99999999TiB"} {
		if b := Bytes(0); b.Set(s) == nil {
			t.Errorf("%q is taken for %d", s, b)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1500 * time.Millisecond: "1.5 s",
		90 * time.Second:        "1m30s",
		24 * time.Hour:          "24h0m0s",
		720 * time.Hour:         "30 days",
		721 * time.Hour:         "721h0m0s",
	} {
		if got := Span(d); got != want {
			t.Errorf("%d ns: %q, want %q", d, got, want)
		}
	}
}
