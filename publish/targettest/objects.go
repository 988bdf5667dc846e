package targettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

func segment(n, size int) (key string, body []byte) {
	body = bytes.Repeat([]byte{byte(n), byte(n >> 8), 'x'}, size/3+1)[:size]
	return manifest.SegmentKey(manifest.Sum(body)), body
}

func mustPut(t *testing.T, target publish.Target, key string, body []byte) {
	t.Helper()
	if err := target.Put(t.Context(), key, body); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func mustStat(t *testing.T, target publish.Target, key string) publish.Object {
	t.Helper()
	o, err := target.Stat(t.Context(), key)
	if err != nil {
		t.Fatalf("stat %s: %v", key, err)
	}
	return o
}

func wantContent(t *testing.T, target publish.Target, key string, body []byte) {
	t.Helper()
	got, err := target.Read(t.Context(), key, 0, int64(len(body)))
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	if !bytes.Equal(got, body) {
		t.Fatalf("%s holds other bytes than were put", key)
	}
}

func testPut(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	key, body := segment(1, 100_000)
	if _, err := target.Stat(t.Context(), key); !errors.Is(err, publish.ErrNotFound) {
		t.Fatalf("stat of what is not there: %v, want ErrNotFound", err)
	}
	before := time.Now()
	mine := slices.Clone(body)
	mustPut(t, target, key, mine)
	clear(mine) // the target must not look at it any more
	o := mustStat(t, target, key)
	if o.Key != key || o.Size != int64(len(body)) {
		t.Errorf("stat: %+v, want key %s and %d bytes", o, key, len(body))
	}
	// Clocks of other machines differ, but not by a day.
	if d := o.Modified.Sub(before).Abs(); d > 24*time.Hour {
		t.Errorf("modified at %s, put at %s", o.Modified, before)
	}
	wantContent(t, target, key, body)
	mustPut(t, target, key, body)
	wantContent(t, target, key, body)
	if target.String() == "" {
		t.Error("the target has no name")
	}
}

// testPutRenews: Prune leaves alone what was put again.
func testPutRenews(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	key, body := segment(1, 100)
	mustPut(t, target, key, body)
	first := mustStat(t, target, key).Modified
	// Some clocks tick in seconds.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		mustPut(t, target, key, body)
		if mustStat(t, target, key).Modified.After(first) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("put again, the object stays as old as it was")
		}
	}
	wantContent(t, target, key, body)
}

func testPutReplacesBroken(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	key, body := segment(1, 1000)
	for _, broken := range [][]byte{body[:999], append(slices.Clone(body), 'x')} {
		_, tag, err := target.Load(t.Context(), key)
		if err != nil && !errors.Is(err, publish.ErrNotFound) {
			t.Fatal(err)
		}
		if err := target.Swap(t.Context(), key, tag, broken); err != nil { // as somebody else might write it
			t.Fatal(err)
		}
		mustPut(t, target, key, body)
		wantContent(t, target, key, body)
	}
	if o := mustStat(t, target, key); o.Size != 1000 {
		t.Errorf("%d bytes after the put of 1000", o.Size)
	}
}

// testPutConcurrently: whoever sees an object sees all of it, also while
// deletions take the ground away.
func testPutConcurrently(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	key, body := segment(1, 300_000)
	var wg, puts sync.WaitGroup
	for range 4 {
		puts.Go(func() {
			for range 25 {
				if err := target.Put(t.Context(), key, body); err != nil {
					t.Errorf("put: %v", err)
				}
			}
		})
		wg.Go(func() {
			for range 20 {
				got, err := target.Read(t.Context(), key, 0, int64(len(body)))
				if err == nil && !bytes.Equal(got, body) {
					t.Error("read a part of an object")
				}
				if err != nil && !errors.Is(err, publish.ErrNotFound) {
					t.Errorf("read: %v", err)
				}
			}
		})
	}
	done := make(chan struct{})
	wg.Go(func() {
		for {
			if err := target.Delete(t.Context(), key); err != nil {
				t.Errorf("delete: %v", err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	puts.Wait()
	close(done)
	wg.Wait()
}

func testRead(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	key, body := segment(1, 1000)
	if _, err := target.Read(t.Context(), key, 0, 10); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("read of what is not there: %v, want ErrNotFound", err)
	}
	mustPut(t, target, key, body)
	for _, span := range [][2]int64{{0, 1000}, {0, 1}, {999, 1}, {17, 500}} {
		got, err := target.Read(t.Context(), key, span[0], span[1])
		if err != nil || !bytes.Equal(got, body[span[0]:span[0]+span[1]]) {
			t.Errorf("read %d bytes at %d: %d bytes, %v", span[1], span[0], len(got), err)
		}
	}
	for _, span := range [][2]int64{{0, 1001}, {999, 2}, {1000, 1}, {5000, 1}, {0, 1 << 50}} {
		if got, err := target.Read(t.Context(), key, span[0], span[1]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read %d bytes at %d of 1000: %d bytes, %v, want io.ErrUnexpectedEOF", span[1], span[0], len(got), err)
		}
	}
}

func listed(t *testing.T, target publish.Target, prefix string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	err := target.List(t.Context(), prefix, func(o publish.Object) error {
		if _, twice := all[o.Key]; twice {
			t.Errorf("%s is listed twice", o.Key)
		}
		if o.Modified.IsZero() {
			t.Errorf("%s is listed without its age", o.Key)
		}
		all[o.Key] = o.Size
		return nil
	})
	if err != nil {
		t.Fatalf("list %q: %v", prefix, err)
	}
	return all
}

func testList(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	if all := listed(t, target, ""); len(all) != 0 {
		t.Fatalf("an empty target lists %v", all)
	}
	want := map[string]int64{}
	for i := range 40 {
		key, body := segment(i, 10+i)
		mustPut(t, target, key, body)
		want[key] = int64(len(body))
	}
	if diff := cmp.Diff(want, listed(t, target, "segments/")); diff != "" {
		t.Errorf("segments/ (-want +got):\n%s", diff)
	}
	if err := target.Swap(t.Context(), "some-channel/head", "", []byte("head")); err != nil {
		t.Fatal(err)
	}
	want["some-channel/head"] = 4
	if diff := cmp.Diff(want, listed(t, target, "")); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	key, body := segment(7, 17)
	for _, prefix := range []string{key, key[:len(key)-3], "segments/" + key[9:11] + "/" + key[12:40]} {
		if diff := cmp.Diff(map[string]int64{key: int64(len(body))}, listed(t, target, prefix)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", prefix, diff)
		}
	}
	for _, prefix := range []string{"nothing/", "segments/zz", key + "x"} {
		if all := listed(t, target, prefix); len(all) != 0 {
			t.Errorf("%s lists %v", prefix, all)
		}
	}
	stop := errors.New("stop")
	calls := 0
	err := target.List(t.Context(), "segments/", func(publish.Object) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("the caller stopped the listing: %d calls, %v", calls, err)
	}
}

func testDelete(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	var keys []string
	for i := range 3 {
		key, body := segment(i, 100)
		mustPut(t, target, key, body)
		keys = append(keys, key)
	}
	for range 2 {
		if err := target.Delete(t.Context(), keys[0]); err != nil {
			t.Fatalf("delete: %v", err)
		}
		if _, err := target.Stat(t.Context(), keys[0]); !errors.Is(err, publish.ErrNotFound) {
			t.Errorf("stat of what was deleted: %v, want ErrNotFound", err)
		}
	}
	if all := listed(t, target, ""); len(all) != 2 || all[keys[1]] == 0 || all[keys[2]] == 0 {
		t.Errorf("one of %v was deleted, there are %v", keys, all)
	}
	key, body := segment(0, 100)
	mustPut(t, target, key, body)
	wantContent(t, target, key, body)
}

func testKeys(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	ctx := t.Context()
	for _, key := range []string{"", ".", "/", "/a", "a/", "a//b", "../a", "a/../b", "a/..", "./a", "a/./b", ".a", "a/.b", ".a/b", "a\x00b", `a\b`} {
		_, statErr := target.Stat(ctx, key)
		_, readErr := target.Read(ctx, key, 0, 1)
		_, _, loadErr := target.Load(ctx, key)
		for method, err := range map[string]error{
			"Put": target.Put(ctx, key, []byte("x")), "Replace": target.Replace(ctx, key, []byte("x")), "Delete": target.Delete(ctx, key), "Swap": target.Swap(ctx, key, "", []byte("x")),
			"Stat": statErr, "Read": readErr, "Load": loadErr,
		} {
			if err == nil || errors.Is(err, publish.ErrNotFound) || errors.Is(err, publish.ErrConflict) {
				t.Errorf("%s of key %q: %v, want a refusal", method, key, err)
			}
		}
	}
	if all := listed(t, target, ""); len(all) != 0 {
		t.Errorf("refused keys are listed: %v", all)
	}
}

func testCancelled(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	target := newTarget(t)
	key, body := segment(1, 100)
	mustPut(t, target, key, body)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other, otherBody := segment(2, 100)
	_, readErr := target.Read(ctx, key, 0, 1)
	for method, err := range map[string]error{
		"Put":     target.Put(ctx, other, otherBody),
		"Replace": target.Replace(ctx, other, otherBody),
		"Swap":    target.Swap(ctx, "catalog", "", []byte("x")),
		"Read":    readErr,
		"List":    target.List(ctx, "", func(publish.Object) error { return nil }),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s after cancel: %v, want context.Canceled", method, err)
		}
	}
	if diff := cmp.Diff(map[string]int64{key: 100}, listed(t, target, "")); diff != "" {
		t.Error(fmt.Sprint("after cancelled calls (-want +got):\n", diff))
	}
}
