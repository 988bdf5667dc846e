package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/scripts/s3server"
)

const headKey = "some-channel/head"

func segment(size int) (key string, body []byte) {
	body = bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	return manifest.SegmentKey(manifest.Sum(body)), body
}

func wantContent(t *testing.T, target *s3.Target, key string, body []byte) {
	t.Helper()
	if got, err := target.Read(t.Context(), key, 0, int64(len(body))); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%s: %d bytes, %v, want the %d that were put", key, len(got), err, len(body))
	}
}

func wantHead(t *testing.T, target *s3.Target, body string) (tag string) {
	t.Helper()
	got, tag, err := target.Load(t.Context(), headKey)
	if err != nil || string(got) != body {
		t.Errorf("the head is %q, %v, want %q", got, err, body)
	}
	return tag
}

// TestLostReply: the store has written, nobody hears of it, and it refuses the
// second try because of the first.
func TestLostReply(t *testing.T) {
	t.Parallel()
	o, l := through(t, s3server.Start(t))
	target := open(t, o)

	key, body := segment(100_000)
	l.meet("PUT", func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Header.Get("If-None-Match") != "*" {
			t.Error("whatever is there is replaced")
		}
		// A store that ignores the checksum still checks what the signature covers.
		if sum := r.Header.Get("X-Amz-Content-Sha256"); "sha256:"+sum != manifest.Sum(body).String() {
			t.Errorf("the signature is for content %s", sum)
		}
		lost(w, r, forward)
	})
	if err := target.Put(t.Context(), key, body); err != nil {
		t.Errorf("put: %v", err)
	}
	l.want(t, 2)
	wantContent(t, target, key, body)

	l.meet("PUT", lost)
	if err := target.Swap(t.Context(), headKey, "", []byte("1")); err != nil {
		t.Errorf("first swap: %v", err)
	}
	l.want(t, 2)
	tag := wantHead(t, target, "1")

	l.meet("PUT", lost, lost)
	if err := target.Swap(t.Context(), headKey, tag, []byte("2")); err != nil {
		t.Errorf("swap: %v", err)
	}
	l.want(t, 3)
	tag = wantHead(t, target, "2")

	// Another agent is faster than the second try.
	l.meet("PUT", func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if err := target.Swap(t.Context(), headKey, tag, []byte("another's")); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	})
	if err := target.Swap(t.Context(), headKey, tag, []byte("3")); !errors.Is(err, publish.ErrConflict) {
		t.Errorf("swap of what another agent has swapped: %v, want ErrConflict", err)
	}
	wantHead(t, target, "another's")

	l.meet("DELETE", lost)
	if err := target.Delete(t.Context(), key); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := target.Stat(t.Context(), key); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("stat: %v, want ErrNotFound", err)
	}
}

// TestParts: a big object comes in parts. Each step may lose its answer, and
// only the first one then leaves something behind.
func TestParts(t *testing.T) {
	t.Parallel()
	o, l := through(t, s3server.Start(t))
	target := open(t, o)
	body := bytes.Repeat([]byte("0123456789abcdef"), 68<<16) // 68 MiB
	key := manifest.IndexKey(manifest.Sum(body))
	forwarded := func(w http.ResponseWriter, r *http.Request, forward http.Handler) { forward.ServeHTTP(w, r) }
	gone := answer(http.StatusNotFound, "NoSuchUpload") // as AWS has it; the server here has forgotten nothing
	l.meet("POST", lost, forwarded, lost, gone)
	if err := target.Put(t.Context(), key, body); err != nil {
		t.Fatal(err)
	}
	l.want(t, 4)
	wantContent(t, target, key, body)

	l.meet("PUT", lost, slowDown)
	if err := target.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := target.Put(t.Context(), key, body); err != nil {
		t.Fatal(err)
	}
	l.want(t, 5+2)
	wantContent(t, target, key, body)

	// What fails for good is taken back.
	l.meet("PUT", answer(http.StatusForbidden, "AccessDenied"))
	if err := target.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := target.Put(t.Context(), key, body); err == nil || !strings.Contains(err.Error(), "s3:PutObject") {
		t.Errorf("put without permission: %v", err)
	}

	found := func(before time.Time, remove bool) (sizes []int64) {
		t.Helper()
		err := target.Leftovers(t.Context(), before, remove, func(o publish.Object) error {
			if o.Key != key {
				t.Errorf("leftover %s, want %s", o.Key, key)
			}
			sizes = append(sizes, o.Size)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return sizes
	}
	now := time.Now()
	for _, c := range []struct {
		before time.Time
		remove bool
		want   []int64
	}{{now.Add(-time.Hour), true, nil}, {now.Add(time.Hour), false, []int64{0}}, {now.Add(time.Hour), true, []int64{0}}, {now.Add(time.Hour), true, nil}} {
		if got := found(c.before, c.remove); !slices.Equal(got, c.want) {
			t.Errorf("leftovers of %v bytes, want %v", got, c.want)
		}
	}
}

// TestPassing: what passes is not an error.
func TestPassing(t *testing.T) {
	t.Parallel()
	o, l := through(t, s3server.Start(t))
	target := open(t, o)
	ctx := t.Context()
	key, body := segment(100_000)
	changed := func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		all, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		all[len(all)/2] ^= 1
		r.Body = io.NopCloser(bytes.NewReader(all))
		forward.ServeHTTP(w, r)
	}
	tooMany := answer(http.StatusTooManyRequests, "TooManyRequests")
	meeting := answer(http.StatusConflict, "ConditionalRequestConflict")
	for _, c := range []struct {
		name, method string
		faults       []fault
		do           func() error
	}{
		{"put slowed down", "PUT", []fault{slowDown, slowDown, slowDown}, func() error { return target.Put(ctx, key, body) }},
		{"put with a changed byte", "PUT", []fault{changed}, func() error { return target.Put(ctx, key+"2", body) }},
		{"swap", "PUT", []fault{meeting, tooMany, changed}, func() error { return target.Swap(ctx, headKey, "", []byte("head")) }},
		{"stat", "HEAD", []fault{slowDown}, func() error { _, err := target.Stat(ctx, key); return err }},
		{"read", "GET", []fault{slowDown, cut}, func() error { wantContent(t, target, key, body); return nil }},
		{"load", "GET", []fault{cut}, func() error { wantHead(t, target, "head"); return nil }},
		{"list", "GET", []fault{cut, slowDown}, func() error { return target.List(ctx, "", func(publish.Object) error { return nil }) }},
		{"delete", "DELETE", []fault{slowDown}, func() error { return target.Delete(ctx, key+"2") }},
	} {
		l.meet(c.method, c.faults...)
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		l.want(t, len(c.faults)+1)
	}
}

// TestChecksums: the store checks what it gets, by the signature or by a checksum, and
// is not made to do both when it knows checksums.
func TestChecksums(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	for _, knows := range []bool{true, false} {
		o, l := through(t, server)
		o.Prefix = fmt.Sprintf("knows-%t", knows)
		target := open(t, o)
		changed := func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			all, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			all[0] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(all))
			forward.ServeHTTP(w, r)
		}
		var bodies []string // what the requests say of their bodies
		pass := func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			bodies = append(bodies, r.Header.Get("X-Amz-Content-Sha256"))
			if r.Header.Get("X-Amz-Checksum-Sha256") == "" {
				t.Error("no checksum to keep")
			}
			answer := httptest.NewRecorder()
			forward.ServeHTTP(answer, r)
			for name := range answer.Header() {
				if knows || name != "X-Amz-Checksum-Sha256" {
					w.Header().Set(name, answer.Header().Get(name))
				}
			}
			w.WriteHeader(answer.Code)
		}
		for i := range 3 {
			key, body := segment(1000 + i)
			l.meet("PUT", changed, pass)
			if err := target.Put(t.Context(), key, body); err != nil {
				t.Errorf("knows %t: put %d: %v", knows, i, err)
			}
			l.want(t, 2) // a changed byte is noticed either way
			wantContent(t, target, key, body)
			unsigned := bodies[i] == "UNSIGNED-PAYLOAD"
			if want := knows && i > 0; unsigned != want {
				t.Errorf("knows %t: body %d is signed as %q", knows, i, bodies[i])
			}
		}
	}
}

// TestLasting: what lasts is an error after some seconds, or when the caller
// has waited long enough.
func TestLasting(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits as long as a target does")
	}
	o, l := through(t, s3server.Start(t))
	target := open(t, o)
	l.meet("HEAD", slices.Repeat([]fault{answer(http.StatusInternalServerError, "InternalError")}, 8)...)
	started := time.Now()
	if _, err := target.Stat(t.Context(), "catalog"); err == nil || errors.Is(err, publish.ErrNotFound) {
		t.Errorf("stat: %v, want that the store is broken", err)
	}
	if took := time.Since(started); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	l.want(t, 8)

	ctx, cancel := context.WithCancel(t.Context())
	l.meet("PUT", slowDown, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		cancel()
		slowDown(w, r, forward)
	})
	if err := target.Swap(ctx, headKey, "", []byte("head")); !errors.Is(err, context.Canceled) {
		t.Errorf("swap: %v, want context.Canceled", err)
	}
	l.want(t, 2)
}

// TestBusyStore: a store that is only busy gets more time.
func TestBusyStore(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits as long as a target does")
	}
	o, l := through(t, s3server.Start(t))
	l.meet("PUT", slices.Repeat([]fault{slowDown}, 9)...)
	key, body := segment(100)
	if err := open(t, o).Put(t.Context(), key, body); err != nil {
		t.Error(err)
	}
	l.want(t, 10)
}

// TestRenewOnTheStore: an object that is there is not sent again, if the store's
// copy onto itself renews it. The server of these tests only rewrites headers, so
// that of the line stands for one that does.
func TestRenewOnTheStore(t *testing.T) {
	t.Parallel()
	o, l := through(t, s3server.Start(t))
	o.StorageClass = "STANDARD_IA"
	target := open(t, o)
	key, body := segment(100_000)
	l.meet("PUT", func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if got := r.Header.Get("X-Amz-Storage-Class"); got != o.StorageClass {
			t.Errorf("put with storage class %q, want %q", got, o.StorageClass)
		}
		forward.ServeHTTP(w, r)
	})
	if err := target.Put(t.Context(), key, body); err != nil {
		t.Fatal(err)
	}
	copied := func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		for name, want := range map[string]string{
			"X-Amz-Copy-Source":        "snapshots/" + o.Prefix + "/" + key,
			"X-Amz-Metadata-Directive": "REPLACE",
			"Cache-Control":            "public, max-age=31536000, immutable",
			"Content-Type":             "application/zstd",
			"X-Amz-Storage-Class":      "STANDARD_IA",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if r.Header.Get("X-Amz-Copy-Source-If-Match") == "" {
			t.Error("whatever is there is copied")
		}
		fmt.Fprintf(w, `<CopyObjectResult><LastModified>%s</LastModified><ETag>"x"</ETag></CopyObjectResult>`,
			time.Now().Add(time.Minute).UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	lateError := answer(http.StatusOK, "InternalError")
	l.meet("PUT", lateError, copied)
	if err := target.Put(t.Context(), key, body); err != nil {
		t.Fatal(err)
	}
	l.want(t, 2)

	// Without the permission to copy, an object cannot be kept from Prune.
	l.meet("PUT", answer(http.StatusForbidden, "AccessDenied"))
	if err := target.Put(t.Context(), key, body); err == nil {
		t.Error("not renewed, and no error")
	}
	// Deleted before the copy.
	l.meet("PUT", answer(http.StatusNotFound, "NoSuchKey"))
	if err := target.Put(t.Context(), key, body); err != nil {
		t.Error(err)
	}
	l.want(t, 2)
}
