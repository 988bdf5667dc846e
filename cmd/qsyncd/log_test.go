package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest/unixfs"
)

// TestLog: a line of JSON has plain values, and no key twice.
func TestLog(t *testing.T) {
	c, err := unixfs.ParseCID("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
	must(t, err)
	for format, want := range map[string]string{
		"json": `"level":"WARN","msg":"it happened","channel":"demo","run":7,"took":90.5,"at":"2026-11-25T04:00:00Z","cid":"` + c.String() + `","error":"no room"}`,
		"text": `level=WARN msg="it happened" channel=demo run=7 took=1m30.5s at=2026-11-25T04:00:00.000Z cid=` + c.String() + ` error="no room"`,
	} {
		var b bytes.Buffer
		log, err := newLog(&b, format)
		must(t, err)
		log = log.With("channel", "demo").With("channel", "other", "run", 7)
		log.Warn("it happened", "channel", "third", "took", 90*time.Second+500*time.Millisecond, "at", time.Date(2026, 11, 25, 4, 0, 0, 0, time.UTC),
			"cid", c, "error", errors.New("no room"))
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s: %s\nwant %s", format, b.String(), want)
		}
	}
}
