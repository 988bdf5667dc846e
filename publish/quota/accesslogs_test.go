package quota

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/scripts/s3server"
)

// accessLog is a log as CloudFront writes it, of lines with a time, bytes and a path.
func accessLog(lines ...string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprintln(z, "#Version: 1.0")
	fmt.Fprintln(z, "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status")
	for _, l := range lines {
		f := strings.Fields(l)
		fmt.Fprintf(z, "%s\t%s\tFRA56-P1\t%s\t192.0.2.10\tGET\td111111abcdef8.cloudfront.net\t%s\t200\n", f[0], f[1], f[2], f[3])
	}
	_ = z.Close()
	return b.Bytes()
}

// TestAccessLogs reads logs in a bucket of a real store: each once, late ones too, and
// those of this distribution only.
func TestAccessLogs(t *testing.T) {
	server := s3server.Start(t)
	environment(t.Setenv, "", t.TempDir())
	t.Setenv("AWS_ENDPOINT_URL", "")
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	store, err := s3.New(s3.Options{Bucket: server.Bucket, Region: server.Region, Endpoint: server.Endpoint, Prefix: "logs"})
	must(t, err)
	client, puts := server.Client(t), 0
	put := func(name string, body []byte) {
		t.Helper()
		_, err := client.PutObject(t.Context(), server.Bucket, "logs/"+name, bytes.NewReader(body), int64(len(body)), "", "", minio.PutObjectOptions{})
		must(t, err)
		puts++
	}
	logs := &AccessLogs{
		Store: store, Distribution: distribution, Channels: []string{"demo-files"}, Outbox: alarm.In(t.TempDir()), Name: distribution,
	}
	delivered := func(want ...Hour) {
		t.Helper()
		got, err := logs.Delivered(t.Context(), when(t, "2026-11-01 00:00"), when(t, "2026-12-02 00:00"))
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("delivered (-want +got):\n%s", diff)
		}
	}
	hour := func(at string, bytes, files int64) Hour {
		h := Hour{Start: when(t, at), Bytes: bytes}
		if files > 0 {
			h.Channels = map[string]int64{"demo-files": files}
		}
		return h
	}
	delivered()
	put(distribution+".2026-11-10-12.abcd1234.gz", accessLog(
		"2026-11-10 12:00:01 1000 /segments/ab/cd.zst", "2026-11-10 12:59:59 500 /demo-files/20261110-110000/full/CURRENT", "2026-11-10 13:00:00 7 /catalog"))
	put("E3SOMEBODYELSES.2026-11-10-12.abcd1234.gz", accessLog("2026-11-10 12:00:01 1000000 /segments/ab/cd.zst"))
	put("README", []byte("not a log"))
	want := []Hour{hour("2026-11-10 12:00", 1500, 500), hour("2026-11-10 13:00", 7, 0)}
	delivered(want...)
	delivered(want...)
	// The same hour again, a day late, and the next month.
	put(distribution+".2026-11-10-12.ffff1234.gz", accessLog("2026-11-10 12:30:00 500 /demo-files/head"))
	put(distribution+".2026-12-01-00.abcd1234.gz", accessLog("2026-12-01 00:00:00 9 /catalog"))
	want = []Hour{hour("2026-11-10 12:00", 2000, 1000), want[1], hour("2026-12-01 00:00", 9, 0)}
	delivered(want...)
	// What is not readable as a log is an error, and counts for nothing.
	put(distribution+".2026-11-11-12.abcd1234.gz", []byte("not gzip"))
	if _, err := logs.Delivered(t.Context(), when(t, "2026-11-01 00:00"), when(t, "2026-12-02 00:00")); err == nil || !strings.Contains(err.Error(), "read log "+distribution+".2026-11-11-12") {
		t.Errorf("%v", err)
	}
	put(distribution+".2026-11-11-12.abcd1234.gz", accessLog("2026-11-11 12:00:00 3 /catalog"))
	want = []Hour{want[0], want[1], hour("2026-11-11 12:00", 3, 0), want[2]}
	delivered(want...)
	// Old notes go, and what they said is not asked for any more.
	_, err = logs.Delivered(t.Context(), when(t, "2027-02-01 00:00"), when(t, "2027-02-02 00:00"))
	must(t, err)
	notes := 0
	must(t, logs.Outbox.EachMark("", func(string, []byte) error { notes++; return nil }))
	if notes != 0 {
		t.Errorf("%d notes are left", notes)
	}
}

func TestBrokenLog(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"no bytes": {"2026-11-10 12:00:01 - /catalog", "has no sc-bytes"},
		"negative": {"2026-11-10 12:00:01 -5 /catalog", "has no sc-bytes"},
		"no time":  {"2026-11-10 12h 5 /catalog", "has no date and time"},
	} {
		if _, err := parseLog(accessLog(c.line), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTop names the channels that most was delivered of.
func TestTop(t *testing.T) {
	hours := []Hour{
		{Bytes: 100e9, Channels: map[string]int64{"a": 10e9, "b": 20e9, "c": 1e9}},
		{Bytes: 50e9, Channels: map[string]int64{"c": 30e9, "d": 2e9, "e": 3e9, "f": 1e6}}, {Bytes: 7},
	}
	got := ""
	for _, row := range (&Meter{}).top(hours).Rows {
		got += row.Name + " " + row.Value + ", "
	}
	if want := "c 31 GB, b 20 GB, a 10 GB, e 3 GB, d 2 GB, "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if top := (&Meter{}).top([]Hour{{Bytes: 7}}); top.Rows != nil {
		t.Errorf("%v of nothing that can be told apart", top)
	}
}
