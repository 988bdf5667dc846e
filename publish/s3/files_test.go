package s3_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/scripts/s3server"
)

const (
	oldFile = "some-channel/20261122-040000/full/table"
	newFile = "some-channel/20261123-040000/full/table"
)

func openFiles(t *testing.T, o s3.Options) *s3.Files {
	t.Helper()
	target, err := s3.NewFiles(o)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// TestFilesPassing: what a store may do to the steps of an object that is put
// together, and what is left of it where that fails for good.
func TestFilesPassing(t *testing.T) {
	t.Parallel()
	o, l := through(t, s3server.Start(t))
	target := openFiles(t, o)
	const unit = publish.MinPiece
	body := bytes.Repeat([]byte("0123456789abcdef"), 2*unit/16)
	assemble := func(key string, pieces ...publish.Piece) error {
		return target.Assemble(t.Context(), key, pieces, bytes.NewReader(body))
	}
	if err := assemble(oldFile, publish.Piece{Length: unit}, publish.Piece{Offset: unit, Length: unit}); err != nil {
		t.Fatal(err)
	}
	lateError := answer(http.StatusOK, "InternalError")
	forwarded := func(w http.ResponseWriter, r *http.Request, forward http.Handler) { forward.ServeHTTP(w, r) }
	gone := answer(http.StatusNotFound, "NoSuchUpload")
	half := []publish.Piece{{From: oldFile, Length: unit}, {Offset: unit, Length: unit}}
	for _, c := range []struct {
		name, method string
		faults       []fault
		do           func() error
		requests     int
	}{
		{"copy", "PUT", []fault{slowDown, lateError, lost}, func() error { return target.Copy(t.Context(), newFile, oldFile) }, 4},
		{"parts", "PUT", []fault{slowDown, lost, lateError}, func() error { return assemble(newFile, half...) }, 2 + 3},
		{"begin and end", "POST", []fault{lost, forwarded, lost, gone}, func() error { return assemble(newFile, half...) }, 4},
	} {
		l.meet(c.method, c.faults...)
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		l.want(t, c.requests)
		wantContent(t, target.Target, newFile, body)
		if err := target.Delete(t.Context(), newFile); err != nil {
			t.Fatal(err)
		}
	}
	l.meet("PUT", answer(http.StatusForbidden, "AccessDenied"))
	if err := assemble(newFile, half...); err == nil || !strings.Contains(err.Error(), "s3:PutObject") || !strings.Contains(err.Error(), "s3:ListMultipartUploadParts") {
		t.Errorf("without permission: %v", err)
	}
	// Those uploads whose begin was not heard of, which nobody could take back.
	var left []string
	err := target.Leftovers(t.Context(), time.Now().Add(time.Hour), true, func(o publish.Object) error {
		left = append(left, o.Key)
		return nil
	})
	if err != nil || !slices.Equal(left, []string{newFile}) {
		t.Errorf("left over: %q, %v, want one %s", left, err, newFile)
	}
}

// TestFilesHeaders: what a browser or a cache is told of a file of a version.
func TestFilesHeaders(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	target := openFiles(t, options(server))
	version := "some-channel/20261122-040000"
	types := map[string]string{
		version + "/full/000012.sst": "application/octet-stream", version + "/full/CURRENT": "application/octet-stream",
		version + "/files.txt": "text/plain; charset=utf-8", version + ".meta.txt": "text/plain; charset=utf-8",
	}
	for key := range types {
		if err := target.Assemble(t.Context(), key, []publish.Piece{{Length: 4}}, strings.NewReader("text")); err != nil {
			t.Fatal(err)
		}
	}
	copied := "some-channel/20261123-040000/full/000012.sst"
	types[copied] = "application/octet-stream"
	if err := target.Copy(t.Context(), copied, version+"/full/000012.sst"); err != nil {
		t.Fatal(err)
	}
	for key, want := range types {
		info, err := client(t, server).StatObject(t.Context(), server.Bucket, key, minio.StatObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if cache := info.Metadata.Get("Cache-Control"); info.ContentType != want || cache != publish.CacheForever {
			t.Errorf("%s: type %q, cache %q, want %q and for ever", key, info.ContentType, cache, want)
		}
	}
}

// bigStore says that it has an object of a size that no test could put, and notes what
// is copied of it.
type bigStore struct {
	size   int64
	mu     sync.Mutex
	ranges []string
	parts  int
}

func (s *bigStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Method == http.MethodHead:
		w.Header().Set("Content-Length", fmt.Sprint(s.size))
		w.Header().Set("ETag", `"big"`)
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
	case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
		fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPut:
		s.ranges = append(s.ranges, r.Header.Get("X-Amz-Copy-Source-Range"))
		fmt.Fprint(w, `<CopyObjectResult><LastModified>2026-11-22T04:00:00.000Z</LastModified><ETag>"part"</ETag></CopyObjectResult>`)
	case r.Method == http.MethodPost:
		var complete struct {
			Part []struct{ PartNumber int }
		}
		if xml.NewDecoder(r.Body).Decode(&complete) != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		s.parts = len(complete.Part)
		fmt.Fprint(w, `<CompleteMultipartUploadResult><Bucket>snapshots</Bucket><Key>table</Key><ETag>"whole"</ETag></CompleteMultipartUploadResult>`)
	}
}

// TestFilesBig: big objects are copied in parts, of which S3 takes 10,000.
func TestFilesBig(t *testing.T) {
	t.Parallel()
	const mib, gib, tib = 1 << 20, 1 << 30, 1 << 40
	for _, c := range []struct {
		size int64
		parts,
		part int64 // bytes of each, but the last
	}{{gib - 1, 0, 0}, {gib, 4, 256 * mib}, {11*gib + 5, 44, 256 * mib}, {4 * tib, 4096, gib}} {
		store := &bigStore{size: c.size}
		server := httptest.NewServer(store)
		t.Cleanup(server.Close)
		target := openFiles(t, s3.Options{
			Bucket: "snapshots", Region: "us-east-1", Endpoint: server.URL, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		})
		if err := target.Copy(t.Context(), newFile, oldFile); err != nil {
			t.Fatal(err)
		}
		want := []string{""}
		for i := range c.parts {
			end := (i + 1) * c.part
			if i == c.parts-1 {
				end = c.size
			}
			want = append(want, fmt.Sprintf("bytes=%d-%d", i*c.part, end-1))
		}
		if c.parts > 0 {
			want = want[1:] // the one that was copied as a whole
		}
		slices.Sort(store.ranges)
		slices.Sort(want)
		if diff := cmp.Diff(want, store.ranges); diff != "" || int64(store.parts) != c.parts {
			t.Errorf("%d bytes: %d parts, want %d (-want +got):\n%s", c.size, store.parts, c.parts, diff)
		}
	}
}
