package s3_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/dustin/go-humanize"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/publish/targettest"
)

var filesSize = flag.String("files-size", "256MiB", "bytes that TestFilesMemory sends, in a big file and in many small ones each")

// maxFilesMemory is what may be needed to send files of any size, and to take them.
const maxFilesMemory = 250 << 20

// TestFilesMemory sends files to a store that keeps nothing, so that their size is
// bounded by patience alone. It has a process of its own, whose memory is counted.
func TestFilesMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("with the race detector it takes another memory")
	}
	const child = "QSYNC_TEST_FILES_MEMORY"
	if os.Getenv(child) != "" {
		sendFiles(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFilesMemory$", "-test.v", "-test.timeout=0", "-files-size="+*filesSize)
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// forgetful is a store that takes everything, counts its bytes and keeps nothing.
type forgetful struct{ taken atomic.Int64 }

func (f *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPut:
		f.taken.Add(n)
		w.Header().Set("ETag", `"taken"`)
	case r.Method == http.MethodPost && query.Has("uploads"):
		fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPost:
		fmt.Fprint(w, `<CompleteMultipartUploadResult><Bucket>snapshots</Bucket><Key>table</Key><ETag>"whole"</ETag></CompleteMultipartUploadResult>`)
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
	}
}

// repeated is a file whose chunks are all alike.
type repeated struct{ chunk []byte }

func (r repeated) ReadAt(p []byte, _ int64) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], r.chunk)
	}
	return n, nil
}

func (repeated) Close() error { return nil }

func sendFiles(t *testing.T) {
	debug.SetMemoryLimit(96 << 20) // as the commands do
	size, err := humanize.ParseBytes(*filesSize)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, manifest.ChunkSize)
	for i := range chunk {
		chunk[i] = byte(i%251) + 1
	}
	digest := manifest.Sum(chunk)
	file := func(path string, chunks int) manifest.File {
		return manifest.File{
			Path: path, Size: int64(chunks) * manifest.ChunkSize, Mode: 0o644,
			Chunks: []byte(strings.Repeat(string(digest[:]), chunks)),
		}
	}
	const sst = 64 // chunks
	total := int(size) / manifest.ChunkSize
	var x manifest.Index
	for i := range total / sst {
		x.Files = append(x.Files, file(fmt.Sprintf("%06d.sst", i), sst))
	}
	x.Files = append(x.Files, file("table", total))

	store := &forgetful{}
	server := httptest.NewServer(store)
	defer server.Close()
	files := openFiles(t, s3.Options{
		Bucket: "snapshots", Region: "us-east-1", Endpoint: server.URL, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	segments, err := dir.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	run, err := targettest.NewStage(t, segments, files).Publisher.Begin(t.Context(), targettest.Channel)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	start := time.Now()
	err = run.PutFiles(t.Context(), targettest.Version(0), &x, func(string) (publish.File, error) { return repeated{chunk}, nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	peak := peakMemory(t)
	t.Logf("%s in %.1f s, peak memory of %d MiB, with that of the store", humanize.IBytes(uint64(store.taken.Load())), time.Since(start).Seconds(), peak>>20)
	if want := int64(total/sst*sst+total) * manifest.ChunkSize; store.taken.Load() < want {
		t.Errorf("the store has taken %d bytes, want %d", store.taken.Load(), want)
	}
	if peak > maxFilesMemory {
		t.Errorf("peak memory of %d MiB, want at most %d", peak>>20, maxFilesMemory>>20)
	}
}

// peakMemory is the most that this process has had in memory.
func peakMemory(t *testing.T) (bytes int64) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(peak), " ")
	n, err := strconv.ParseInt(kib, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}
