package s3_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
	miniocredentials "github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/scripts/s3server"
)

// client is another client of the bucket.
func client(t *testing.T, server *s3server.Server) *minio.Core {
	t.Helper()
	u, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds: miniocredentials.NewStaticV4(server.AccessKey, server.SecretKey, ""), Region: server.Region,
	})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

// TestHeaders: what a cache in front of the bucket, or a browser, is told.
func TestHeaders(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	target := open(t, options(server))
	key, body := segment(100)
	if err := target.Put(t.Context(), key, body); err != nil {
		t.Fatal(err)
	}
	if err := target.Put(t.Context(), "manifests/x.json", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := target.Swap(t.Context(), headKey, "", []byte("head")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // in the place of what was there, too
		if err := publish.PutPage(t.Context(), target, publish.StatusPageKey, []byte("<!DOCTYPE html>")); err != nil {
			t.Fatal(err)
		}
	}
	type headers struct{ contentType, cacheControl string }
	got := map[string]headers{}
	for _, name := range []string{key, "manifests/x.json", headKey, publish.StatusPageKey} {
		info, err := client(t, server).StatObject(t.Context(), server.Bucket, name, minio.StatObjectOptions{Checksum: true})
		if err != nil {
			t.Fatal(err)
		}
		if info.ChecksumSHA256 == "" {
			t.Errorf("%s is stored without its checksum", name)
		}
		got[name] = headers{info.ContentType, info.Metadata.Get("Cache-Control")}
	}
	want := map[string]headers{
		key:                {"application/zstd", "public, max-age=31536000, immutable"},
		"manifests/x.json": {"application/json", "public, max-age=31536000, immutable"},
		headKey:            {"text/plain; charset=utf-8", "public, max-age=30"},

		publish.StatusPageKey: {"text/html; charset=utf-8", "public, max-age=30"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(headers{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPrefixes: targets of one bucket, and what else lies in it, do not see each other.
func TestPrefixes(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	inside := func(prefix string) *s3.Target {
		o := options(server)
		o.Prefix = prefix
		return open(t, o)
	}
	short, long := inside("a"), inside("ab/c")
	key, body := segment(100)
	for _, target := range []*s3.Target{short, long} {
		if err := target.Put(t.Context(), key, body); err != nil {
			t.Fatal(err)
		}
	}
	other := client(t, server)
	for _, name := range []string{"a/.hidden", "a/" + key[:len(key)-4]} {
		if _, err := other.NewMultipartUpload(t.Context(), server.Bucket, name, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Client.PutObject(t.Context(), server.Bucket, name, strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := short.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	wantContent(t, long, key, body)
	var listed []string
	if err := short.List(t.Context(), "", func(o publish.Object) error { listed = append(listed, o.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{key[:len(key)-4]}, listed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	err := short.Leftovers(t.Context(), time.Now().Add(time.Hour), true, func(o publish.Object) error {
		t.Errorf("%s of somebody else is to be removed", o.Key)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := long.String(), "s3://snapshots/ab/c at "+strings.TrimPrefix(server.Endpoint, "http://"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestListMany: a listing of several answers, one of which is lost.
func TestListMany(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	o, l := through(t, server)
	o.Prefix = "many"
	target := open(t, o)
	want := map[string]bool{}
	var group errgroup.Group
	group.SetLimit(4)
	other := client(t, server)
	for i := range 1100 {
		key := fmt.Sprintf("segments/%02x/%d.zst", i%256, i)
		want[key] = true
		group.Go(func() error {
			_, err := other.Client.PutObject(t.Context(), server.Bucket, "many/"+key, strings.NewReader("x"), 1, minio.PutObjectOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	l.meet("GET", slowDown, cut)
	got := map[string]bool{}
	err := target.List(t.Context(), "segments/", func(o publish.Object) error {
		if got[o.Key] {
			t.Errorf("%s is listed twice", o.Key)
		}
		got[o.Key] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRefusals: the error of what no second try helps says what does.
func TestRefusals(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	const secret = "not-the-secret-key"
	for _, c := range []struct {
		name string
		edit func(*s3.Options)
		want string
	}{
		{"another's secret", func(o *s3.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider(server.AccessKey, secret, "")
		}, "AWS_SECRET_ACCESS_KEY"},
		{"an unknown key", func(o *s3.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider("nobody", secret, "")
		}, "AWS_SECRET_ACCESS_KEY"},
		{"no credentials", func(o *s3.Options) {
			o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{}, errors.New("nothing found")
			})
		}, "no credentials: set AWS_ACCESS_KEY_ID"},
		{"no bucket", func(o *s3.Options) { o.Bucket = "nowhere" }, "no such bucket"},
		{"another region", func(o *s3.Options) { o.Region = "us-west-2" }, "region"},
	} {
		o := options(server)
		c.edit(&o)
		target := open(t, o)
		key, body := segment(100)
		_, _, loadErr := target.Load(t.Context(), headKey)
		errs := map[string]error{
			"Put":  target.Put(t.Context(), key, body),
			"Swap": target.Swap(t.Context(), headKey, "", body),
			"Load": loadErr,
			"List": target.List(t.Context(), "", func(publish.Object) error { return nil }),
		}
		for method, err := range errs {
			switch {
			case err == nil || !strings.Contains(err.Error(), c.want):
				t.Errorf("%s, %s: %v, want %q", c.name, method, err, c.want)
			case errors.Is(err, publish.ErrNotFound) || errors.Is(err, publish.ErrConflict):
				t.Errorf("%s, %s: %v looks like an answer", c.name, method, err)
			case strings.Contains(err.Error(), secret):
				t.Errorf("%s, %s: the secret is in the error: %v", c.name, method, err)
			}
		}
	}
}

// TestOptions: what cannot work is refused before anything is asked.
func TestOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]s3.Options{
		"no scheme":       {Endpoint: "localhost:9000"},
		"a password":      {Endpoint: "http://user:password@localhost:9000"},
		"a path":          {Endpoint: "http://localhost:9000/bucket"},
		"a prefix above":  {Prefix: "../other"},
		"a closed prefix": {Prefix: "a/"},
	} {
		o.Bucket, o.Region, o.Credentials = "snapshots", "us-east-1", aws.AnonymousCredentials{}
		if _, err := s3.New(o); err == nil || strings.Contains(err.Error(), "password") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestChain: the credentials and the region come from where AWS's tools take them.
func TestChain(t *testing.T) {
	server := s3server.Start(t)
	nothing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey, "AWS_REGION": server.Region,
		"AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_DEFAULT_REGION": "", "AWS_CA_BUNDLE": "",
		"AWS_CONFIG_FILE": nothing, "AWS_SHARED_CREDENTIALS_FILE": nothing, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	o := s3.Options{Bucket: server.Bucket, Endpoint: server.Endpoint}
	if err := open(t, o).Swap(t.Context(), headKey, "", []byte("head")); err != nil {
		t.Error(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if _, _, err := open(t, o).Load(t.Context(), headKey); err == nil || !strings.Contains(err.Error(), "set AWS_ACCESS_KEY_ID") {
		t.Errorf("without credentials: %v", err)
	}
	t.Setenv("AWS_REGION", "")
	if _, err := s3.New(o); err == nil || !strings.Contains(err.Error(), "no region") {
		t.Errorf("without a region: %v", err)
	}
}

// TestMemory: a segment is sent from where it lies.
func TestMemory(t *testing.T) {
	target := open(t, options(s3server.Start(t)))
	if err := target.Put(t.Context(), "segments/00/warm.zst", make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	key, body := segment(16 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := target.Put(t.Context(), key, body); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
		t.Errorf("%d bytes were allocated to put %d", used, len(body))
	}
}

// TestLoadTooMuch: what is no pointer is not taken into memory.
func TestLoadTooMuch(t *testing.T) {
	t.Parallel()
	target := open(t, options(s3server.Start(t)))
	if err := target.Put(t.Context(), headKey, make([]byte, publish.MaxMutableSize+1)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := target.Load(t.Context(), headKey); err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("load: %v", err)
	}
}
