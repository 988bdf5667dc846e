package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
	"github.com/qsync/qsync/scripts/s3server"
)

// bucket is a bucket with objects below a prefix, and an environment with the
// credentials for it.
type bucket struct {
	t      *testing.T
	server *s3server.Server
	prefix string
}

func newBucket(t *testing.T, prefix string, objects map[string][]byte) *bucket {
	t.Helper()
	return fill(t, s3server.Start(t), prefix, objects)
}

// fill puts the objects into an empty bucket.
func fill(t *testing.T, server *s3server.Server, prefix string, objects map[string][]byte) *bucket {
	t.Helper()
	b := &bucket{t: t, server: server, prefix: strings.Trim(prefix, "/")}
	useAWS(t, b.server.AccessKey, b.server.SecretKey)
	for key, body := range objects {
		server.Put(t, path.Join(prefix, key), body)
	}
	return b
}

// useAWS sets the environment of Amazon's tools, and keeps those of the machine
// out of the test.
func useAWS(t *testing.T, accessKey, secretKey string) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", accessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	nowhere := filepath.Join(t.TempDir(), "nothing")
	t.Setenv("AWS_CONFIG_FILE", nowhere)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, name := range []string{"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"} {
		t.Setenv(name, "")
	}
}

// url is the bucket's at an endpoint, with more for the query.
func (b *bucket) url(endpoint string, more ...string) string {
	query := append([]string{"region=" + b.server.Region, "endpoint=" + url.QueryEscape(endpoint)}, more...)
	return "s3://" + b.server.Bucket + "/" + b.prefix + "?" + strings.Join(query, "&")
}

// open lets everybody read.
func (b *bucket) open() {
	b.t.Helper()
	b.server.Allow(b.t, "*", "s3:GetObject", "s3:ListBucket")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestS3(t *testing.T) {
	for _, prefix := range []string{"", "below/a/prefix", "below/a/prefix/"} {
		sourcetest.Run(t, func(t *testing.T, objects map[string][]byte) fetcher.Source {
			b := newBucket(t, prefix, objects)
			return mustOpen(t, b.url(b.server.Endpoint))
		})
	}
}

func TestS3Anonymous(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, objects map[string][]byte) fetcher.Source {
		b := newBucket(t, "", objects)
		useAWS(t, "", "")
		s := mustOpen(t, b.url(b.server.Endpoint, "anonymous=true"))
		_, err := s.Get(t.Context(), "catalog", 10)
		isPermanent(t, err, "not open to everybody")
		b.open()
		return s
	})
}

func isPermanent(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !errors.As(err, new(*backoff.PermanentError)) || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want a permanent one with %q", err, want)
	}
}

// TestS3Refusals asks for what is refused, and looks for the reason.
func TestS3Refusals(t *testing.T) {
	b := newBucket(t, "", map[string][]byte{"catalog": []byte("small")})
	for _, test := range []struct{ name, accessKey, secretKey, url, want string }{
		{"no bucket", b.server.AccessKey, b.server.SecretKey,
			strings.Replace(b.url(b.server.Endpoint), b.server.Bucket, "elsewhere", 1), "there is no bucket elsewhere"},
		{"no credentials", "", "", b.url(b.server.Endpoint), "no credentials"},
		{"unknown access key", "hunter2-key", "hunter2", b.url(b.server.Endpoint), "not accepted"},
		{"wrong secret", b.server.AccessKey, "hunter2", b.url(b.server.Endpoint), "not accepted"},
		{"another region", b.server.AccessKey, b.server.SecretKey,
			strings.Replace(b.url(b.server.Endpoint), b.server.Region, "us-west-2", 1), "region"},
	} {
		t.Run(test.name, func(t *testing.T) {
			useAWS(t, test.accessKey, test.secretKey)
			s := mustOpen(t, test.url)
			_, err := s.Get(t.Context(), "catalog", 10)
			isPermanent(t, err, test.want)
			if text := s.String() + err.Error(); strings.Contains(text, "hunter2") || strings.Contains(text, b.server.SecretKey) {
				t.Errorf("a secret is in %q", text)
			}
		})
	}
}

func TestS3AnotherRegion(t *testing.T) {
	for region, want := range map[string]string{
		"eu-west-3": "add region=eu-west-3 to the URL",
		"":          "with the region of the bucket",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if region != "" {
				w.Header().Set("X-Amz-Bucket-Region", region)
			}
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusMovedPermanently)
			_, _ = io.WriteString(w, "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>")
		}))
		t.Cleanup(server.Close)
		_, err := mustOpen(t, "s3://bucket-name?anonymous=true&endpoint="+server.URL).Get(t.Context(), "catalog", 10)
		isPermanent(t, err, "region")
		var hinted interface{ Hint() string }
		if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), want) {
			t.Errorf("%v: want the hint %q", err, want)
		}
	}
}

func TestS3Stall(t *testing.T) {
	size := int64(1 << 20)
	fault := sourcetest.Stall.Serve(t, store(t, map[string][]byte{"segments/a": make([]byte, size)}))
	server := asBucket(t, fault)
	s := mustOpen(t, "s3://bucket-name?anonymous=true&endpoint="+server).(*s3Source)
	s.stall = 50 * time.Millisecond
	body, err := s.Open(t.Context(), fetcher.Span{Key: "segments/a", Length: size, Size: size})
	check(t, err)
	defer body.Close()
	if _, err = io.Copy(io.Discard, body); err == nil || !strings.Contains(err.Error(), "no data for 50ms") {
		t.Errorf("error is %v", err)
	}
}

// TestS3Faults reads from each kind of faulty server. What arrives without an
// error is right, except where only a digest can tell; and where a fetch would
// succeed, all of the object arrives in the end.
func TestS3Faults(t *testing.T) {
	size := int64(3<<20 + 1<<19) // some break after 3 MiB
	content := bytes.Repeat([]byte("0123456789abcdef"), int(size)/16)
	undetectable := []string{"lie", "another range under the right name"}
	for _, fault := range sourcetest.Faults {
		if fault.Name == sourcetest.Stall.Name {
			continue // TestS3Stall
		}
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			server := asBucket(t, fault.Serve(t, store(t, map[string][]byte{"segments/a": content})))
			s := mustOpen(t, "s3://bucket-name?anonymous=true&endpoint="+server)
			for _, span := range []fetcher.Span{
				{Offset: 0, Length: size}, {Offset: 1<<20 + 5, Length: 1 << 20},
			} {
				span.Key, span.Size = "segments/a", size
				got, err := readSpan(t.Context(), s, span)
				if err == nil && !bytes.Equal(got, content[span.Offset:][:span.Length]) && !slices.Contains(undetectable, fault.Name) {
					t.Errorf("%+v: got %d bytes, which are not the right ones, and no error", span, len(got))
				}
			}
			if !fault.Alone {
				return
			}
			if got, err := readOn(t.Context(), s, "segments/a", size); err != nil || !bytes.Equal(got, content) {
				t.Errorf("reading on: got %d bytes, %v", len(got), err)
			}
		})
	}
}

// readSpan returns what came of a span, and why it ended.
func readSpan(ctx context.Context, s fetcher.Source, span fetcher.Span) ([]byte, error) {
	body, err := s.Open(ctx, span)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// readOn reads an object as a fetch does: it goes on where a stream broke, and
// gives up when three in a row brought nothing.
func readOn(ctx context.Context, s fetcher.Source, key string, size int64) (got []byte, err error) {
	for tries := 0; int64(len(got)) < size && tries < 3; tries++ {
		var more []byte
		offset := int64(len(got))
		more, err = readSpan(ctx, s, fetcher.Span{Key: key, Offset: offset, Length: size - offset, Size: size})
		if got = append(got, more...); len(more) > 0 {
			tries = -1
		}
	}
	if int64(len(got)) == size {
		return got, nil
	}
	return got, err
}

// asBucket makes the bucket bucket-name of a web server.
func asBucket(t *testing.T, server string) string {
	t.Helper()
	return proxy(t, server, func(r *http.Request) { r.URL.Path = strings.TrimPrefix(r.URL.Path, "/bucket-name") }, nil)
}

// proxy passes requests on to a server, except what answer answers itself.
func proxy(t *testing.T, to string, change func(*http.Request), answer func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	target, err := url.Parse(to)
	check(t, err)
	forward := &httputil.ReverseProxy{
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, 0), // broken streams are what it is for
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			if change != nil {
				change(r.Out)
			}
			r.SetURL(target)
			r.Out.Host = r.In.Host // is signed
		},
		ModifyResponse: func(r *http.Response) error {
			if r.Header.Get("Last-Modified") == "" { // each object in S3 has one
				r.Header.Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer == nil || !answer(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

func TestParseS3(t *testing.T) {
	for raw, want := range map[string]string{
		"s3://bucket-name":                                       "s3://bucket-name/",
		"s3://bucket-name/":                                      "s3://bucket-name/",
		"s3://bucket-name/a/b/?region=eu-west-1":                 "s3://bucket-name/a/b",
		"s3://bucket-name/a?endpoint=http://127.0.0.1:9000/":     "s3://bucket-name/a at 127.0.0.1:9000",
		"s3://bucket-name/a?anonymous=false&requester-pays=true": "s3://bucket-name/a",

		"s3:///prefix":                                        "want s3://BUCKET/PREFIX",
		"s3://bucket-name:80/a":                               "want s3://BUCKET/PREFIX",
		"s3://bucket-name/a#b":                                "want s3://BUCKET/PREFIX",
		"s3://key:hunter2@bucket-name/a":                      "credentials do not belong",
		"s3://bucket-name?token=hunter2":                      `"token" is not known`,
		"s3://bucket-name?region=a&region=hunter2":            "region is given twice",
		"s3://bucket-name?anonymous=hunter2":                  "anonymous is neither true nor false",
		"s3://bucket-name?endpoint=ftp://hunter2":             "the endpoint is not of the form",
		"s3://bucket-name?endpoint=http://u:hunter2@h":        "the endpoint is not of the form",
		"s3://bucket-name?endpoint=http://h/hunter2":          "the endpoint is not of the form",
		"s3://bucket-name?a=%zzhunter2":                       "cannot be parsed",
		"s3://bucket-name?anonymous=true&requester-pays=true": "cannot be anonymous",
	} {
		u, err := url.Parse(raw)
		check(t, err)
		place, err := parseS3(u)
		var got string
		if err != nil {
			got = err.Error()
		} else {
			got = place.String()
		}
		if strings.Contains(want, "s3://bucket-name") && got != want || !strings.Contains(got, want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s: got %q, want %q", raw, got, want)
		}
	}
}
