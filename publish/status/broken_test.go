package status

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// TestBroken breaks a page of the file after the other, and the whole of it.
func TestBroken(t *testing.T) {
	const page = 4096
	whole := RunsIn(t.TempDir())
	for range 50 {
		run, err := whole.Start(Run{Channel: "a", Start: time.Now(), Error: string(bytes.Repeat([]byte("x"), 300))})
		if err == nil {
			err = whole.End(run)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(whole.File())
	if err != nil {
		t.Fatal(err)
	}
	broken := map[string][]byte{"empty": {}, "short": good[:page+1], "other": bytes.Repeat([]byte("qsync"), 8*page)}
	for i := 2; i < len(good)/page; i++ {
		for name, with := range map[string]byte{"zeros": 0, "ones": 0xff} {
			b := bytes.Clone(good)
			copy(b[i*page:], bytes.Repeat([]byte{with}, page))
			broken[name+fmt.Sprint(" in page ", i)] = b
		}
	}
	found := 0
	for name, b := range broken {
		r := RunsIn(t.TempDir())
		if err := os.WriteFile(r.File(), b, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, use := range []func() error{
			func() error { _, err := r.Last("a", 100); return err },
			func() error { _, err := r.Start(Run{Channel: "a", Start: time.Now()}); return err },
			func() error { _, _, err := r.LastPublished("a"); return err },
		} {
			err := use()
			if err == nil {
				continue // the page was free
			}
			found++
			if is := (*BrokenError)(nil); !errors.As(err, &is) || is.Hint() == "" {
				t.Errorf("%s: %v", name, err)
			}
			break // bbolt may keep its lock on a file that it panics at
		}
	}
	if found < 6 {
		t.Errorf("only %d of %d broken files were noticed", found, len(broken))
	}
}
