package quota

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/dir"
)

// TestServed counts what the agent's own server sends: whole files, ranges, and what
// was cut off.
func TestServed(t *testing.T) {
	base, state := t.TempDir(), t.TempDir()
	key := filepath.Join("demo-files", "20261110-110000", "full", "one")
	must(t, os.MkdirAll(filepath.Join(base, filepath.Dir(key)), 0o755))
	must(t, os.WriteFile(filepath.Join(base, key), make([]byte, 40<<20), 0o644))
	s := &Served{Outbox: alarm.In(state), Channels: []string{"demo-files"}}
	server := httptest.NewServer(s.Count(dir.Handler(base)))
	t.Cleanup(server.Close)
	get := func(name, span string) int64 {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/"+name, nil)
		must(t, err)
		if span != "" {
			req.Header.Set("Range", span)
		}
		answer, err := http.DefaultClient.Do(req)
		must(t, err)
		defer answer.Body.Close()
		n, err := io.Copy(io.Discard, answer.Body)
		must(t, err)
		return n
	}
	total := func() (bytes, files int64) {
		t.Helper()
		now := time.Now().UTC().Truncate(time.Hour)
		hours, err := (&Served{Outbox: alarm.In(state)}).Delivered(t.Context(), now.Add(-time.Hour), now.Add(2*time.Hour))
		must(t, err)
		for _, h := range hours {
			bytes, files = bytes+h.Bytes, files+h.Channels["demo-files"]
		}
		return bytes, files
	}
	want := get(key, "") + get(key, "bytes=0-99")
	if want != 40<<20+100 {
		t.Fatalf("%d bytes came", want)
	}
	must(t, s.Save())
	if bytes, files := total(); bytes != want || files != want {
		t.Errorf("counted %d, %d of the channel; want %d", bytes, files, want)
	}
	must(t, s.Save()) // nothing new
	missing := get("nothing", "")
	must(t, s.Save())
	if bytes, files := total(); bytes != want+missing || files != want {
		t.Errorf("counted %d, %d of the channel; want %d", bytes, files, want+missing)
	}
	// What cannot be saved is not lost.
	s.Outbox = alarm.In(filepath.Join(base, key)) // a file
	want += missing + get(key, "bytes=0-9")
	if s.Save() == nil {
		t.Error("saved below a file")
	}
	want += get(key, "bytes=0-9")
	s.Outbox = alarm.In(state)
	must(t, s.Save())
	if bytes, _ := total(); bytes != want {
		t.Errorf("counted %d, want %d", bytes, want)
	}
}
