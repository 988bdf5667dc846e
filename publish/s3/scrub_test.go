package s3_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/publish/targettest"
	"github.com/qsync/qsync/scripts/s3server"
)

// TestScrub harms objects in a bucket, as somebody else would who writes there: what
// another target has whole is mended.
func TestScrub(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	at := func(prefix string) (o s3.Options) {
		o = options(server)
		o.Prefix = prefix
		return o
	}
	first, second, files := open(t, at("first")), open(t, at("second")), openFiles(t, at("files"))
	s := targettest.NewStage(t, first, second, files)
	for generation := range 2 {
		if _, err := s.Publish(t.Context(), s.Publisher, generation); err != nil {
			t.Fatal(err)
		}
	}
	other := client(t, server)
	find := func(target publish.Target, prefix, suffix string) (found publish.Object) {
		err := target.List(t.Context(), prefix, func(o publish.Object) error {
			if o.Size > found.Size && strings.HasSuffix(o.Key, suffix) {
				found = o
			}
			return nil
		})
		if err != nil || found.Key == "" {
			t.Fatalf("list %s: %v", prefix, err)
		}
		return found
	}
	put := func(name string, change func([]byte) []byte) {
		body, _, _, err := other.GetObject(t.Context(), server.Bucket, name, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		b = change(b)
		if _, err := other.Client.PutObject(t.Context(), server.Bucket, name, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	version := targettest.Channel + "/" + targettest.Version(1)
	harmed := map[string]string{} // key → target
	harm := func(target publish.Target, where, prefix, suffix string, change func([]byte) []byte) {
		o := find(target, prefix, suffix)
		harmed[o.Key] = target.String()
		if change != nil {
			put(where+"/"+o.Key, change)
		} else if err := other.RemoveObject(t.Context(), server.Bucket, where+"/"+o.Key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func([]byte) []byte{"flipped": flip, "cut off": cut, "gone": nil} {
		start := time.Now()
		clear(harmed)
		harm(first, "first", "segments/", "", change)
		harm(second, "second", "indexes/", "", change)
		harm(first, "first", "manifests/", "", change)
		harm(files, "files", version+"/", "zeros", change)
		harm(files, "files", version+"/", "growing", change)
		harm(files, "files", version+"/", "files.txt", change)
		sc := &publish.Scrub{Publisher: s.Publisher, Channels: []string{targettest.Channel}, Name: "hand"}
		if _, err := sc.Round(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all, err := status.ScrubsIn(s.Publisher.StateDir).Damage()
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, d := range all {
			if harmed[d.Key] == d.Target && d.Mended.After(start) {
				found++
			}
		}
		if found != len(harmed) {
			t.Errorf("%s: of %v, found and mended are %+v", name, harmed, all)
		}
		s.WantPublished(1, 0)
	}
}
